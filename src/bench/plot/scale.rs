//! Axes: where a value is between the two ends, and which values are written there.

/// An axis.
pub(super) struct Scale {
    from: f64,
    to: f64,
    is_logarithmic: bool,
    /// The values that are written at it.
    pub(super) ticks: Vec<f64>,
}

/// Ticks of a linear axis, about.
const TICKS: f64 = 5.0;
/// The part of an axis that a number needs.
const ROOM: f64 = 0.05;

impl Scale {
    /// A logarithmic axis of loads, each of which is written if there is room.
    pub(super) fn of_loads(loads: &[usize]) -> Self {
        let values: Vec<f64> = loads.iter().map(|load| *load as f64).collect();
        let (from, to) = ends(&values).unwrap_or((1.0, 1.0));
        // One load is in the middle.
        let (from, to) = if from < to { (from, to) } else { (from / 2.0, to * 2.0) };
        let mut scale = Self { from, to, is_logarithmic: true, ticks: Vec::new() };
        for value in values {
            if scale.ticks.last().is_none_or(|last| scale.at(value) - scale.at(*last) >= ROOM) {
                scale.ticks.push(value);
            }
        }
        scale
    }

    /// A linear axis that begins at zero.
    pub(super) fn from_zero(values: &[f64]) -> Self {
        let most = ends(values).map_or(1.0, |(_, most)| most.max(1.0));
        let step = round_up(most / TICKS);
        let steps = (most / step).ceil() as usize;
        let ticks = (0..=steps).map(|tick| step * tick as f64).collect();
        Self { from: 0.0, to: step * steps as f64, is_logarithmic: false, ticks }
    }

    /// A logarithmic axis from and to a round value. It has 1, 2 and 5 of each power of ten, or the powers alone if that is much.
    pub(super) fn logarithmic(values: &[f64]) -> Self {
        let (least, most) = ends(values).filter(|(least, _)| *least > 0.0).unwrap_or((1.0, 10.0));
        let (from, to) = (10_f64.powf(least.log10().floor()), 10_f64.powf((most * 1.001).log10().ceil()));
        let powers = (to / from).log10().round() as i32;
        let factors: &[f64] = if powers <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let each = (0..=powers).flat_map(|power| factors.iter().map(move |factor| from * factor * 10_f64.powi(power)));
        let ticks = each.filter(|tick| *tick <= to * 1.001).collect();
        Self { from, to, is_logarithmic: true, ticks }
    }

    /// Where a value is: 0 at the beginning, 1 at the end.
    pub(super) fn at(&self, value: f64) -> f64 {
        match self.is_logarithmic {
            true => (value / self.from).ln() / (self.to / self.from).ln(),
            false => (value - self.from) / (self.to - self.from),
        }
    }
}

/// The least and the greatest value.
fn ends(values: &[f64]) -> Option<(f64, f64)> {
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(least, most), value| (least.min(*value), most.max(*value))))
}

/// 1, 2 or 5 times a power of ten that is not less.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    factors.map(|factor| factor * power).find(|round| *round >= value * 0.999).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_begins_at_zero_and_has_round_ticks() {
        let scale = Scale::from_zero(&[7_830.0, 34_286.0]);
        assert_eq!(scale.ticks, [0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0]);
        assert_eq!((scale.at(0.0), scale.at(20_000.0), scale.at(40_000.0)), (0.0, 0.5, 1.0));
        assert_eq!(Scale::from_zero(&[]).ticks.first(), Some(&0.0));
    }

    #[test]
    fn latency_is_between_powers_of_ten() {
        let rounded = |scale: &Scale| scale.ticks.iter().map(|tick| tick.round()).collect::<Vec<_>>();
        let scale = Scale::logarithmic(&[130.0, 8_000.0]);
        assert_eq!(rounded(&scale), [100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0]);
        assert!((scale.at(1_000.0) - 0.5).abs() < 1e-9);
        assert_eq!(rounded(&Scale::logarithmic(&[5.0, 900_000.0])), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
    }

    #[test]
    fn loads_are_written_where_there_is_room() {
        let scale = Scale::of_loads(&[1, 2, 4, 8]);
        assert_eq!((scale.ticks.len(), scale.at(1.0), scale.at(8.0)), (4, 0.0, 1.0));
        let crowded = Scale::of_loads(&(1..=512).collect::<Vec<_>>());
        assert!(crowded.ticks.len() < 20, "{:?}", crowded.ticks);
        assert_eq!(Scale::of_loads(&[4]).at(4.0), 0.5);
    }
}
