//! Standard output of the tools: a reader that has gone away (`| head -1`) ends the printing, not the program.

use std::io::Write as _;

/// Prints as `print!` does, without its panic when nobody reads any more.
macro_rules! say {
    ($($arg:tt)*) => { $crate::out::write(format_args!($($arg)*)) };
}
pub(crate) use say;

/// As [`say!`], and ends the line.
macro_rules! say_line {
    ($($arg:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($arg)*))) };
}
pub(crate) use say_line;

/// What [`say!`] calls.
pub(crate) fn write(text: std::fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    // There is nobody left to tell.
    let _ = stdout.write_fmt(text).and_then(|()| stdout.flush());
}
