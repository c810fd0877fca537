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

/// A number with thin groups of three, e.g. `49 152`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a readable unit, e.g. `72.4 MB`.
pub fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = "B";
    for next in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(75_904_727), "75.9 MB");
    }

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
