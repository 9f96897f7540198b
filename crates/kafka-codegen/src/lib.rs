//! Reads the schema text of kafka-proto and writes its message code.
//!
//! [`schema`] is the model, [`parse`] reads the text, [`plan`] decides names and which versions reach
//! which struct, [`emit`] and [`emit_api`] write Rust. [`sample`] makes random wire bytes straight from
//! the schema: an independent reading of it, which the tests hold against the generated code.
//!
//! No macro, no build script, no syntax library: what is generated is checked in and read like other code.

pub mod emit;
pub mod emit_api;
pub mod parse;
pub mod plan;
pub mod sample;
pub mod schema;

use std::collections::BTreeMap;

/// Every generated file: path below `messages/generated`, content.
pub fn generate(schema_text: &str) -> Result<BTreeMap<String, String>, parse::SchemaError> {
    let messages = parse::parse(schema_text)?;
    let modules = plan::modules(&messages)?;
    let mut files = BTreeMap::new();
    for module in &modules {
        files.insert(module.path(), emit::module(module));
    }
    files.insert("mod.rs".into(), emit_api::mod_file(&modules));
    files.insert("api_key.rs".into(), emit_api::api_key_file(&messages));
    files.insert("body.rs".into(), emit_api::body_file(&messages));
    files.insert("data/mod.rs".into(), emit_api::data_mod_file(&modules));
    Ok(files)
}
