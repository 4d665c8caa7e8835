//! What many samples are said as.

/// The value in the middle; of an even number, the lower of the two.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 50.0)
}

/// The value that so many of a hundred do not exceed.
pub(super) fn percentile(values: impl IntoIterator<Item = f64>, percent: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The mean of the middle half: as little impressed by outliers as the median, but finer than the clock, whose ticks are
/// 10 ns on some machines.
pub(super) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let half = values.get(quarter..values.len() - quarter).unwrap_or_default();
    half.iter().sum::<f64>() / half.len() as f64
}

/// The highest.
pub(super) fn highest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// The lowest.
pub(super) fn lowest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_few_and_of_many() {
        assert!(median([]).is_nan());
        assert_eq!(median([3.0]), 3.0);
        assert_eq!(median([4.0, 1.0]), 1.0);
        assert_eq!(median([9.0, 1.0, 5.0]), 5.0);
    }

    #[test]
    fn percentiles_are_values_that_there_were() {
        let hundred = || (1..=100).map(f64::from);
        assert_eq!(percentile(hundred(), 99.0), 99.0);
        assert_eq!(percentile(hundred(), 99.9), 100.0);
        assert_eq!(percentile(hundred(), 0.0), 1.0);
        assert_eq!(percentile([7.0], 99.0), 7.0);
    }

    #[test]
    fn outliers_are_left_out_of_the_mean_of_the_middle_half() {
        assert_eq!(middle(vec![1.0, 10.0, 12.0, 1000.0]), 11.0);
        assert!(middle(Vec::new()).is_nan());
        assert_eq!((lowest([2.0, 1.0]), highest([2.0, 3.0])), (1.0, 3.0));
    }
}
