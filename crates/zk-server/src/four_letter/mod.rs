//! Four-letter words: the operator's questions that are asked instead of a session.
//!
//! A word is the first four bytes of a connection, read where a frame's length would be; the reply is text,
//! then the connection closes. Shapes are those of 3.9.3 (`server/command/*.java`), which exporters parse.
//! [`word`] knows the words and who may ask, [`render`] writes the text from plain data, [`answer`] collects
//! that data from a running server.

pub(crate) mod answer;
pub(crate) mod environment;
pub(crate) mod mntr;
pub(crate) mod render;
mod word;

pub use word::Whitelist;
pub(crate) use word::Word;
