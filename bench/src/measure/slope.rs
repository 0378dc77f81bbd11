//! The line that lies closest to some points.

/// The slope of the line of least squares through points of `(x, y)`; 0 where all have one `x`.
pub(super) fn of(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    if below == 0.0 { 0.0 } else { above / below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_have_its_slope_whatever_it_begins_at() {
        let line = |x: f64| (x, 5e6 + 1_494.0 * x);
        let points = [2_000.0, 3_750.0, 5_500.0, 7_250.0, 9_000.0].map(line);
        assert!((of(&points) - 1_494.0).abs() < 1e-6);
    }

    #[test]
    fn what_lies_beside_the_line_on_both_sides_does_not_tilt_it() {
        let points = [(0.0, 0.0), (1.0, 15.0), (2.0, 15.0), (3.0, 30.0)];
        assert!((of(&points) - 9.0).abs() < 1e-9);
        assert!(of(&[(1.0, 2.0), (1.0, 3.0)]).abs() < 1e-9);
    }
}
