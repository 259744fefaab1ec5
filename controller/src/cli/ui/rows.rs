//! Lines of a host as rows of a terminal. Each row has a label that the host cannot write.
//!
//! The rows are broken here and not by the terminal: a row that the terminal begins has no label,
//! so a host could make it look like the question of another target.

/// The columns of a terminal that does not know its width.
const COLUMNS: usize = 80;

/// Maximum number of rows. The first one has what ssh says of who asks, and must not be scrolled
/// out of sight.
const MOST: usize = 12;

/// The label of each row if that of the hop takes a row of its own.
const MARGIN: &str = "| ";

/// Returns `lines` as rows with a label, none of which fills a row of a terminal with this number
/// of columns.
pub(crate) fn rows(label: &str, lines: &[&str], columns: Option<u16>) -> Vec<String> {
    // A terminal may begin a new row after the last column.
    let room = columns.map_or(COLUMNS, usize::from).max(16) - 1;
    let fits = |line: &&str| width(label) + width(line) <= room;
    let mut rows = Vec::new();
    let own_row = width(label) > room / 2 && !lines.iter().all(fits);
    let label = if own_row {
        rows.push(label.trim_end().to_owned());
        MARGIN
    } else {
        label
    };
    for line in lines {
        let mut row = label.to_owned();
        let mut left = room - width(label).min(room);
        for c in line.chars() {
            // A tab is as wide as the terminal likes.
            let c = if c == '\t' { ' ' } else { c };
            if left < width_of(c) && row.len() > label.len() {
                rows.push(std::mem::replace(&mut row, label.to_owned()));
                left = room - width(label).min(room);
            }
            left = left.saturating_sub(width_of(c));
            row.push(c);
        }
        rows.push(row);
    }
    let first = usize::from(own_row) + 1;
    if rows.len() > MOST {
        let surplus = rows.len() - MOST + 1;
        let note = format!("{label}(lines are left out here)");
        let note = note.chars().take(room).collect();
        rows.splice(first..first + surplus, [note]);
    }
    rows
}

fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Returns the most columns that a terminal takes for a character. Too many do no harm, and
/// terminals disagree on the width of most that are not ASCII.
fn width_of(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_a_long_line_has_the_label() {
        for filler in ["x", "\u{4e00}", "e\u{301}", " ", "\t"] {
            let line = filler.repeat(70) + "[p2] password for ssh: ";
            for columns in [None, Some(20), Some(40), Some(79), Some(81)] {
                let rows = rows("[e1/sudo] ", &[&line], columns);
                let most = usize::from(columns.unwrap_or(80));
                for row in &rows {
                    let begins = row.starts_with("[e1/sudo]") || row.starts_with(MARGIN);
                    assert!(begins && width(row) < most, "{row:?} {columns:?}");
                }
            }
        }
        assert_eq!(rows("[a] ", &["b", "c: "], None), ["[a] b", "[a] c: "]);
    }

    #[test]
    fn a_long_label_takes_a_row_of_its_own_where_the_line_does_not_fit() {
        let label = format!("[{}] ", "web1/".repeat(10));
        let fits = rows(&label, &["password: "], Some(80));
        assert_eq!(fits, [format!("{label}password: ")]);
        let line = "x".repeat(70);
        let seen = rows(&label, &[&line], Some(40));
        assert_eq!(seen[0], label.trim_end());
        assert!(seen[1..].iter().all(|row| row.starts_with("| x")));
    }

    #[test]
    fn the_first_and_the_last_rows_of_many_are_kept() {
        let lines: Vec<String> = (1..=100).map(|n| format!("line {n}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let seen = rows("[a] ", &lines, None);
        assert_eq!(seen.len(), MOST);
        assert_eq!(seen[0], "[a] line 1");
        assert_eq!(seen[1], "[a] (lines are left out here)");
        assert_eq!(seen[2], "[a] line 91");
        assert_eq!(seen[MOST - 1], "[a] line 100");
    }
}
