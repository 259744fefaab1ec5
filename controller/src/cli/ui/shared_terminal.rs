//! Output of a target on a terminal that it shares with labels, other targets and questions.

/// Returns output without what could move the cursor, hide text or change the terminal, so that no
/// target can overwrite the lines of another one or a question: U+FFFD stands for each character
/// that is left out. Colours stay, up to the end of their line.
pub(super) fn tamed(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = &*text;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour(rest) {
            shown.push_str(&rest[..length]);
            coloured = true;
            rest = &rest[length..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' | '\r' => {
                if std::mem::take(&mut coloured) {
                    shown.push_str(PLAIN);
                }
                shown.push(c);
            }
            c if offshoot::harmless(c.encode_utf8(&mut [0; 4])) != *c.encode_utf8(&mut [0; 4]) => {
                shown.push(char::REPLACEMENT_CHARACTER);
            }
            c => shown.push(c),
        }
    }
    if coloured {
        shown.push_str(PLAIN);
    }
    shown.into_bytes()
}

/// Ends all colours.
const PLAIN: &str = "\x1b[m";

/// Returns the length of the sequence at the beginning of a text that sets colours and attributes,
/// if it has one that hides nothing.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    let shows = parameters[end..].starts_with('m') && !conceals(&parameters[..end]);
    shows.then_some("\x1b[".len() + end + 1)
}

/// Returns true if one of these attributes hides text.
fn conceals(attributes: &str) -> bool {
    let mut numbers = attributes
        .split(';')
        .map(|number| number.trim_start_matches('0'));
    while let Some(number) = numbers.next() {
        match number {
            "8" => return true,
            // The numbers of a colour follow: one of a table, or three.
            "38" | "48" | "58" => match numbers.next() {
                Some("5") => drop(numbers.next()),
                Some("2") => drop(numbers.nth(2)),
                _ => return true,
            },
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::tamed;

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8(tamed(bytes)).expect("it is text")
    }

    #[test]
    fn colours_end_with_their_line_and_nothing_moves_the_cursor() {
        for (bytes, text) in [
            (&b"plain\ttext\r\nnext"[..], "plain\ttext\r\nnext"),
            (b"\x1b[1;31mred\nnext", "\x1b[1;31mred\x1b[m\nnext"),
            (b"\x1b[32mok", "\x1b[32mok\x1b[m"),
            (b"\x1b[mplain\x1b[0m", "\x1b[mplain\x1b[0m\x1b[m"),
            (
                b"\x1b[G\x1b[2K[p2] password: \x1b[8m\n",
                "\u{fffd}[G\u{fffd}[2K[p2] password: \u{fffd}[8m\n",
            ),
            (b"\x1b[1;08mhidden", "\u{fffd}[1;08mhidden"),
            (b"\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("\u{9b}2K\u{202e}".as_bytes(), "\u{fffd}2K\u{fffd}"),
            (
                b"\x08\x0b\x0c\xff\x1b[3",
                "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}[3",
            ),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }

    #[test]
    fn an_eight_in_a_colour_hides_nothing() {
        for colour in ["38;5;8", "1;48;05;8;4", "38;2;8;8;8", "58;5;8;38;5;8"] {
            let text = format!("\x1b[{colour}mx\x1b[m");
            assert_eq!(shown(&text.as_bytes()[..text.len() - 3]), text);
        }
        for hiding in ["38;5;8;8", "38;2;1;2;3;8", "38;8", "0;8"] {
            assert!(shown(format!("\x1b[{hiding}mx").as_bytes()).starts_with('\u{fffd}'));
        }
    }
}
