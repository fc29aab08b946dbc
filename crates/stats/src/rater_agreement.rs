//! Agreement between raters beyond what chance would give.

/// Cohen's kappa (1960) of two raters from the table of their choices: `table[i][j]` observations
/// got `i` from the first rater and `j` from the second.
///
/// None without observations, or where both always choose the same: chance alone explains that.
pub fn cohen_kappa<const C: usize>(table: &[[f64; C]; C]) -> Option<f64> {
    let total: f64 = table.iter().flatten().sum();
    let share = |count: f64| count / total;
    let agreed: f64 = (0..C).map(|i| share(table[i][i])).sum();
    let row = |i: usize| share(table[i].iter().sum());
    let column = |j: usize| share(table.iter().map(|row| row[j]).sum());
    let by_chance: f64 = (0..C).map(|i| row(i) * column(i)).sum();
    (total > 0.0 && by_chance < 1.0).then(|| (agreed - by_chance) / (1.0 - by_chance))
}

/// What one unit adds to the coincidence matrix of Krippendorff's alpha, from how many raters gave
/// it each category. A unit with fewer than two ratings adds nothing, so ratings may be missing.
pub fn coincidences<const C: usize>(ratings: [usize; C]) -> [[f64; C]; C] {
    let total: usize = ratings.iter().sum();
    let mut matrix = [[0.0; C]; C];
    if total < 2 {
        return matrix;
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            let others = ratings[j] - usize::from(i == j && ratings[j] > 0);
            *cell = (ratings[i] * others) as f64 / (total - 1) as f64;
        }
    }
    matrix
}

/// Krippendorff's alpha (2011) for nominal categories, from the sum of all units' coincidences:
/// 1 for complete agreement, 0 for what chance gives, below 0 for less.
///
/// None where fewer than two categories occur: there is nothing to disagree about.
pub fn krippendorff_alpha<const C: usize>(coincidences: &[[f64; C]; C]) -> Option<f64> {
    let totals: [f64; C] = std::array::from_fn(|i| coincidences[i].iter().sum());
    let total: f64 = totals.iter().sum();
    let (mut observed, mut expected) = (0.0, 0.0);
    for i in 0..C {
        for j in 0..i {
            observed += coincidences[i][j];
            expected += totals[i] * totals[j];
        }
    }
    (expected > 0.0).then(|| 1.0 - (total - 1.0) * observed / expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_of_fifty_proposals_read_twice() {
        // 35 of 50 agreed; 30 of 50 and 25 of 50 said yes: (0.7 - 0.5) / (1 - 0.5).
        let kappa = cohen_kappa(&[[20.0, 5.0], [10.0, 15.0]]).unwrap();
        assert!((kappa - 0.4).abs() < 1e-12);
    }

    #[test]
    fn agreement_that_cannot_be_told_from_chance_is_none() {
        assert_eq!(cohen_kappa(&[[0.0; 2]; 2]), None);
        assert_eq!(cohen_kappa(&[[9.0, 0.0], [0.0, 0.0]]), None);
        assert_eq!(krippendorff_alpha(&coincidences([3, 0])), None);
    }

    #[test]
    fn alpha_of_krippendorffs_own_example() {
        // Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four
        // observers, twelve units, five categories, missing values; nominal alpha 0.743.
        let units: [[usize; 5]; 12] = [
            [3, 0, 0, 0, 0],
            [0, 3, 1, 0, 0],
            [0, 0, 4, 0, 0],
            [0, 0, 4, 0, 0],
            [0, 4, 0, 0, 0],
            [1, 1, 1, 1, 0],
            [0, 0, 0, 4, 0],
            [3, 1, 0, 0, 0],
            [0, 4, 0, 0, 0],
            [0, 0, 0, 0, 3],
            [2, 0, 0, 0, 0],
            [0, 0, 1, 0, 0],
        ];
        let mut sum = [[0.0; 5]; 5];
        for unit in units {
            let added = coincidences(unit);
            (0..5).for_each(|i| (0..5).for_each(|j| sum[i][j] += added[i][j]));
        }
        assert!((sum.iter().flatten().sum::<f64>() - 40.0).abs() < 1e-12);
        let alpha = krippendorff_alpha(&sum).unwrap();
        assert!((alpha - 0.743).abs() < 5e-4, "{alpha}");
    }
}
