//! A table, for the terminal and for a document.

#[derive(Debug)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) const fn new(head: Vec<&'static str>) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// In columns, the first to the left and the others to the right.
    pub(super) fn plain(&self) -> String {
        let head: Vec<String> = self.head.iter().map(|&name| name.to_owned()).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut text = String::new();
        for line in lines() {
            let mut shown = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                shown.push_str(&match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                });
            }
            text.push_str(shown.trim_end());
            text.push('\n');
        }
        text
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|---|", self.head.join(" | "));
        text.push_str(&"---:|".repeat(self.head.len().saturating_sub(1)));
        text.push('\n');
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(vec!["name", "µs"]);
        assert!(table.is_empty());
        table.add(vec!["a".to_owned(), "10.25".to_owned()]);
        assert_eq!(table.plain(), "name     µs\na     10.25\n");
        assert_eq!(
            table.markdown(),
            "| name | µs |\n|---|---:|\n| a | 10.25 |\n"
        );
    }
}
