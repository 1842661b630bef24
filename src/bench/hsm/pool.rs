//! The number of sessions that suits an HSM, by what it did with several.

use super::super::curve::{Curve, ENOUGH};

/// The number of sessions that suits every operation: with it, the operation that is furthest from its own best throughput has
/// nine tenths of what that one has with the number that suits best. Of several such numbers it is the least.
pub(super) fn sessions<'a>(curves: impl Iterator<Item = &'a Curve> + Clone) -> Option<usize> {
    let mut numbers: Vec<usize> = curves.clone().flat_map(|curve| &curve.steps).map(|step| step.load).collect();
    numbers.sort_unstable();
    let worst = |sessions: usize| {
        let steps = curves.clone().flat_map(|curve| curve.steps.iter().map(move |step| (curve, step)));
        let shares = steps.filter(|(_, step)| step.load == sessions).map(|(curve, step)| curve.share(step));
        shares.fold(1.0, f64::min)
    };
    let best = numbers.iter().map(|sessions| worst(*sessions)).fold(0.0, f64::max);
    numbers.iter().copied().find(|sessions| worst(*sessions) >= ENOUGH * best)
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
