//! The strings that parent, stages and agent agree on: parameter, nonce and markers.

use std::{error::Error, fmt};

use crate::image::Image;

/// Sixteen hexadecimal digits that distinguish one bootstrap's markers from everything else on the
/// stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Creates a nonce from eight random bytes.
    pub fn new(random: [u8; 8]) -> Self {
        let mut digits = [0; 16];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(random) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        Self(digits)
    }

    /// Reads a nonce; `None` unless `text` is sixteen lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 16] = text.as_bytes().try_into().ok()?;
        digits
            .iter()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            .then_some(Self(digits))
    }

    /// Returns the sixteen digits.
    pub fn as_str(&self) -> &str {
        // Both constructors make hexadecimal digits only.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 {
        b'0' + value
    } else {
        b'a' + value - 10
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

/// The time at which the parent sends the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Directly behind the command: saves a round trip, but a start-up file that reads stdin breaks
    /// it. The loader gives up after 10 seconds without a byte.
    Optimistic,
    /// After the loader has printed [`ready_marker`]. The loader gives up after 60 seconds without
    /// a byte. A start-up file that reads lines must be given some; the loader skips what
    /// comes before the image and has no byte 0x7f.
    Wait,
}

/// Command that a parent sends before an image. If a start-up file has executed another shell, that
/// shell reads its commands from stdin, and must not take the image for some.
pub const OTHER_SHELL_EXITS: &[u8] = b"exit 88\n";

/// The second argument of every stage, 35 characters.
///
/// | offset | content | set by |
/// |---|---|---|
/// | 0 | the character `0` + the image's descriptor, `.` before that | loader |
/// | 1 | the character `0` + the agent's descriptor, `.` before that | unpacker |
/// | 2 | `o` optimistic, `w` wait | parent |
/// | 3 | length of the image, eight hexadecimal digits | parent |
/// | 11 | FNV-1a-32 hash of the image, eight hexadecimal digits | parent |
/// | 19 | nonce | parent |
///
/// `Display` prints the 35 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Descriptor of the agent's own image, from which it starts children.
    pub image_fd: Option<i32>,
    /// Descriptor that the agent was executed from.
    pub agent_fd: Option<i32>,
    /// Mode of the bootstrap.
    pub mode: Mode,
    /// Nonce of the bootstrap.
    pub nonce: Nonce,
    /// Length of the image in bytes.
    pub length: u32,
    /// FNV-1a-32 hash of the image.
    pub checksum: u32,
}

/// Length of a parameter in characters.
const LENGTH: usize = 35;
/// Maximum descriptor that fits one printable character.
const MAX_FD: i32 = (b'~' - b'0') as i32;

/// Returns the parameter that starts an agent from `image`, before any stage has set its
/// descriptors.
pub fn param(image: &Image, nonce: &Nonce, mode: Mode) -> Param {
    Param {
        image_fd: None,
        agent_fd: None,
        mode,
        nonce: *nonce,
        length: image.bytes().len() as u32,
        checksum: image.checksum(),
    }
}

/// Reads a parameter.
///
/// # Errors
/// Returns an error that names the invalid part if `text` is not a parameter.
pub fn parse_param(text: &str) -> Result<Param, ParamError> {
    let bytes: &[u8; LENGTH] = text
        .as_bytes()
        .try_into()
        .map_err(|_| ParamError("its length is not 35"))?;
    if !text.is_ascii() {
        return Err(ParamError("it is not plain text"));
    }
    Ok(Param {
        image_fd: parse_fd(bytes[0])?,
        agent_fd: parse_fd(bytes[1])?,
        mode: match bytes[2] {
            b'o' => Mode::Optimistic,
            b'w' => Mode::Wait,
            _ => return Err(ParamError("its mode is unknown")),
        },
        length: parse_hex(&text[3..11])?,
        checksum: parse_hex(&text[11..19])?,
        nonce: Nonce::parse(&text[19..]).ok_or(ParamError("its nonce is not hexadecimal"))?,
    })
}

fn parse_fd(character: u8) -> Result<Option<i32>, ParamError> {
    match character {
        b'.' => Ok(None),
        b'0'..=b'~' => Ok(Some((character - b'0') as i32)),
        _ => Err(ParamError("a descriptor in it is out of range")),
    }
}

fn parse_hex(digits: &str) -> Result<u32, ParamError> {
    let wrong = ParamError("a number in it is not hexadecimal");
    if digits.starts_with('+') {
        return Err(wrong);
    }
    u32::from_str_radix(digits, 16).map_err(|_| wrong)
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = |fd: Option<i32>| match fd {
            Some(fd @ 0..=MAX_FD) => (b'0' + fd as u8) as char,
            _ => '.',
        };
        let mode = match self.mode {
            Mode::Optimistic => 'o',
            Mode::Wait => 'w',
        };
        let (image, agent) = (fd(self.image_fd), fd(self.agent_fd));
        write!(
            f,
            "{image}{agent}{mode}{:08x}{:08x}{}",
            self.length, self.checksum, self.nonce
        )
    }
}

/// The error for a text that is not a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamError(&'static str);

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bootstrap parameter is not valid: {}", self.0)
    }
}

impl Error for ParamError {}

/// Returns the marker that the loader prints in [`Mode::Wait`] before it reads the image. The
/// marker is not part of the command line, so that an echoed command cannot be mistaken for it. No
/// newline follows.
pub fn ready_marker(nonce: &Nonce, image: &Image) -> Vec<u8> {
    let text = param(image, nonce, Mode::Wait).to_string();
    format!("R{}", &text[3..]).into_bytes()
}

/// Returns the marker that the agent prints before its first frame.
pub fn agent_marker(nonce: &Nonce) -> Vec<u8> {
    format!("offshoot:{nonce}:up\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "34w0001f3a8deadbeef0011223344556677";

    #[test]
    fn a_parameter_round_trips() {
        let param = parse_param(TEXT).unwrap();
        assert_eq!(param.image_fd, Some(3));
        assert_eq!(param.agent_fd, Some(4));
        assert_eq!(
            (param.mode, param.length, param.checksum),
            (Mode::Wait, 0x1f3a8, 0xdeadbeef)
        );
        assert_eq!(
            param.nonce,
            Nonce::new([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77])
        );
        assert_eq!(param.to_string(), TEXT);
        let fresh = Param {
            image_fd: None,
            agent_fd: Some(78),
            ..param
        };
        assert_eq!(parse_param(&fresh.to_string()), Ok(fresh));
    }

    #[test]
    fn every_invalid_character_of_a_parameter_is_refused() {
        for place in 0..LENGTH {
            for wrong in [' ', '+', 'Z', '\u{7f}', 'é'] {
                let mut characters: Vec<char> = TEXT.chars().collect();
                characters[place] = wrong;
                let text: String = characters.into_iter().collect();
                let accepted = parse_param(&text).is_ok();
                assert_eq!(accepted, place < 2 && wrong == 'Z', "{text:?}");
            }
        }
        assert!(parse_param("").is_err());
        assert!(parse_param(&TEXT[1..]).is_err());
    }
}
