//! Rules for znode paths (`PathUtils.validatePath`).

use std::fmt;

/// Why a path is refused; the words are Apache's, which clients print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    Empty,
    NotAbsolute,
    TrailingSlash,
    NullCharacter { at: usize },
    EmptyName { at: usize },
    Relative { at: usize },
    InvalidCharacter { at: usize },
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Path length must be > 0"),
            Self::NotAbsolute => f.write_str("Path must start with / character"),
            Self::TrailingSlash => f.write_str("Path must not end with / character"),
            Self::NullCharacter { at } => write!(f, "null character not allowed @{at}"),
            Self::EmptyName { at } => write!(f, "empty node name specified @{at}"),
            Self::Relative { at } => write!(f, "relative paths not allowed @{at}"),
            Self::InvalidCharacter { at } => write!(f, "invalid character @{at}"),
        }
    }
}

impl std::error::Error for PathError {}

/// Checks a path. Positions in errors count UTF-16 units, as Java's do.
pub fn validate(path: &str) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    match bytes {
        [] => return Err(PathError::Empty),
        [b'/'] => return Ok(()),
        [b'/', .., b'/'] => return Err(PathError::TrailingSlash),
        [b'/', ..] => {}
        _ => return Err(PathError::NotAbsolute),
    }
    let mut name_start = 1;
    for (i, &b) in bytes.iter().enumerate().skip(1) {
        match b {
            b'/' => {
                check_name(path, name_start, i)?;
                name_start = i + 1;
            }
            0 => {
                return Err(PathError::NullCharacter { at: utf16_position(path, i) });
            }
            0x01..=0x1f | 0x7f => {
                return Err(PathError::InvalidCharacter { at: utf16_position(path, i) });
            }
            0x80.. => check_wide(path, i)?,
            _ => {}
        }
    }
    check_name(path, name_start, bytes.len())
}

/// Checks a path a sequence number will be appended to, which may therefore end in a slash.
pub fn validate_sequential(path: &str) -> Result<(), PathError> {
    if path.ends_with('/') && !path.ends_with("//") {
        return if path.len() == 1 { Ok(()) } else { validate(&path[..path.len() - 1]) };
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        // The digits that follow make an ordinary name of it.
        return validate(&format!("{path}1"));
    }
    validate(path)
}

/// Refuses the names that are empty or point somewhere else.
fn check_name(path: &str, start: usize, end: usize) -> Result<(), PathError> {
    match &path.as_bytes()[start..end] {
        [] => Err(PathError::EmptyName { at: utf16_position(path, end) }),
        b"." | b".." => Err(PathError::Relative { at: utf16_position(path, end - 1) }),
        _ => Ok(()),
    }
}

/// Checks the character that starts at byte `i`; bytes inside a character pass.
#[cold]
fn check_wide(path: &str, i: usize) -> Result<(), PathError> {
    if !path.is_char_boundary(i) {
        return Ok(());
    }
    let refused = path[i..].chars().next().is_some_and(|c| {
        // Characters beyond U+FFFF are surrogate pairs to Java, and those it refuses.
        matches!(u32::from(c), 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff | 0x1_0000..)
    });
    if refused { Err(PathError::InvalidCharacter { at: utf16_position(path, i) }) } else { Ok(()) }
}

fn utf16_position(path: &str, byte: usize) -> usize {
    path[..byte].chars().map(char::len_utf16).sum()
}

/// Splits `/a/b` into `("/a", "b")` and `/a` into `("", "a")`: the root is the empty path, as in the tree.
/// `None` without a slash.
pub fn split(path: &str) -> Option<(&str, &str)> {
    path.rfind('/').map(|at| (&path[..at], &path[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in ["/", "/a", "/a/b", "/a.b/..c/...", "/.a", "/grüße", "/a b", "/\u{d7ff}", "/\u{f900}"] {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn refusals_name_reason_and_position() {
        let check = |path: &str, expect: PathError| assert_eq!(validate(path), Err(expect), "{path:?}");
        check("", PathError::Empty);
        check("a", PathError::NotAbsolute);
        check("/a/", PathError::TrailingSlash);
        check("//", PathError::TrailingSlash);
        check("//a", PathError::EmptyName { at: 1 });
        check("/a//b", PathError::EmptyName { at: 3 });
        check("/.", PathError::Relative { at: 1 });
        check("/./b", PathError::Relative { at: 1 });
        check("/a/..", PathError::Relative { at: 4 });
        check("/a\0", PathError::NullCharacter { at: 2 });
        check("/ü\u{1f}", PathError::InvalidCharacter { at: 2 });
        check("/\u{7f}", PathError::InvalidCharacter { at: 1 });
        check("/\u{85}", PathError::InvalidCharacter { at: 1 });
        check("/\u{f8ff}", PathError::InvalidCharacter { at: 1 });
        check("/\u{fff0}", PathError::InvalidCharacter { at: 1 });
        check("/\u{1f600}", PathError::InvalidCharacter { at: 1 });
    }

    #[test]
    fn a_sequential_path_may_end_where_its_number_will_begin() {
        assert_eq!(validate_sequential("/a/"), Ok(()));
        assert_eq!(validate_sequential("/"), Ok(()));
        assert_eq!(validate_sequential("/a/."), Ok(()));
        assert_eq!(validate_sequential("/a//"), Err(PathError::TrailingSlash));
    }

    #[test]
    fn splitting_gives_parent_and_name() {
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/a"), Some(("", "a")));
        assert_eq!(split("a"), None);
    }
}
