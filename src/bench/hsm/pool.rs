//! The number of sessions that suits an HSM, by what it did with several.

use super::super::curve::{Curve, ENOUGH};

/// The least number of sessions with which every operation has nine tenths of its best throughput. Where there is none, since
/// what helps one hinders another, it is the number with which the one that comes off worst has most.
pub(super) fn sessions<'a>(curves: impl Iterator<Item = &'a Curve> + Clone) -> Option<usize> {
    let mut numbers: Vec<usize> = curves.clone().flat_map(|curve| &curve.steps).map(|step| step.load).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let worst = |sessions: usize| {
        let shares = curves.clone().flat_map(|curve| curve.steps.iter().map(move |step| (curve, step)));
        let shares = shares.filter(|(_, step)| step.load == sessions).map(|(curve, step)| curve.share(step));
        shares.fold(1.0, f64::min)
    };
    let enough = numbers.iter().copied().find(|sessions| worst(*sessions) >= ENOUGH);
    enough.or_else(|| numbers.iter().copied().max_by(|one, other| worst(*one).total_cmp(&worst(*other))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::curve::{Load, tests::curve};

    fn chosen(curves: &[&[(usize, u64)]]) -> Option<usize> {
        let curves: Vec<_> = curves.iter().map(|points| curve(Load::Sessions, points)).collect();
        sessions(curves.iter())
    }

    #[test]
    fn no_more_sessions_than_every_operation_needs() {
        assert_eq!(chosen(&[&[(1, 225), (2, 444), (4, 435)], &[(1, 134), (2, 131), (4, 130)]]), Some(2));
        assert_eq!(chosen(&[&[(1, 100), (2, 101)]]), Some(1));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn where_operations_differ_the_worst_off_decides() {
        assert_eq!(chosen(&[&[(1, 100), (2, 60), (4, 40)], &[(1, 25), (2, 55), (4, 100)]]), Some(2));
    }
}
