//! A list as a table: a header, and columns that are as wide as what is in them.

/// The lines of a table of `N` columns. The last one may have blanks.
pub(super) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    lines(header, rows, |cell, width| format!("{cell:width$}"))
}

/// The lines of a table of figures, which stand below each other by their last digits.
pub(crate) fn figures<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    lines(header, rows, |cell, width| format!("{cell:>width$}"))
}

fn lines<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, padded: impl Fn(&str, usize) -> String) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| padded(cell, width));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = vec![["a".to_owned(), "long".to_owned()], ["ünï".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], rows), "X    Y\na    long\nünï\n");
        assert_eq!(table(["X", "Y"], Vec::new()), "X  Y\n");
        assert_eq!(figures(["X", "YY"], vec![["10".to_owned(), "1".to_owned()]]), " X  YY\n10   1\n");
    }
}
