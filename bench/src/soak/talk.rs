//! The lines between these processes and whoever started them.

use std::fmt::Write as _;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

/// What went otherwise than it should, in words.
pub(crate) type Fault = String;

/// Lines of standard input.
pub(crate) fn orders() -> Lines<BufReader<Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}

/// Says a line of JSON: one object of numbers.
pub(crate) fn say_counts(counts: &[(&str, u64)]) {
    let mut line = String::new();
    for (name, count) in counts {
        let comma = if line.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(line, "{comma}\"{name}\":{count}");
    }
    println!("{{{line}}}");
}

/// Says a line of JSON: one object with one text.
pub(crate) fn say(name: &str, text: &str) {
    println!("{{\"{name}\":\"{}\"}}", plain(text));
}

/// Only what stands in a JSON string as it is.
fn plain(text: &str) -> String {
    let keep = |letter: char| match letter {
        '"' | '\\' => '\'',
        ' '..='~' => letter,
        _ => ' ',
    };
    text.chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_of_json_is_taken_out() {
        assert_eq!(plain("a \"b\" \\ \n\u{e4}c"), "a 'b' '   c");
    }
}
