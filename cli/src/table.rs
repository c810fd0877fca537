//! Columns of text, aligned.

use std::io::{self, Write};

/// Rows under a heading; every column but the last is as wide as its widest cell.
pub struct Table {
    heading: &'static str,
    /// Columns aligned to the right: numbers.
    right: &'static [usize],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table; nothing is written for one.
    pub fn new(heading: &'static str) -> Self {
        Self { heading, right: &[], rows: Vec::new() }
    }

    /// Aligns columns to the right.
    pub fn right(mut self, columns: &'static [usize]) -> Self {
        self.right = columns;
        self
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Writes heading and rows.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(column) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        if !self.heading.is_empty() {
            writeln!(out, "\n{}", self.heading)?;
        }
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match self.right.contains(&column) {
                    true => line.push_str(&format!(" {cell:>width$} ")),
                    false => line.push_str(&format!(" {cell:<width$} ")),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let mut table = Table::new("").right(&[1]);
        table.row(["a", "12", "x"]);
        table.row(["long", "5", "y"]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  a     12  x\n  long   5  y\n");
    }
}
