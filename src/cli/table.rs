//! Rows in aligned columns, without boxes: they can be read, cut and grepped.

use comfy_table::{Table, presets};

use super::text;

/// The table with its heading. Cells are escaped; lines have no trailing spaces and there is no last newline.
pub(super) fn render(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heading.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| text::printable(cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trimmed(&table.to_string())
}

/// Names and values, one a line; what has no value is left out.
pub(super) fn facts(pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for (name, value) in pairs {
        if !value.is_empty() {
            table.add_row(vec![format!("{name}:"), text::printable(&value).into_owned()]);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trimmed(&table.to_string())
}

fn trimmed(table: &str) -> String {
    table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_stay_on_their_line() {
        let rows = [
            vec!["a".to_owned(), "1.2 GB".to_owned(), String::new()],
            vec!["größer\nb".to_owned(), "3 B".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            render(&["NAME", "SIZE", "LEVEL"], rows),
            "NAME       SIZE    LEVEL\na          1.2 GB\ngrößer\\nb  3 B     x"
        );
        assert_eq!(render(&["NAME", "SIZE"], []), "NAME  SIZE");
        assert_eq!(facts([("id", "1".to_owned()), ("none", String::new())]), "id:  1");
    }
}
