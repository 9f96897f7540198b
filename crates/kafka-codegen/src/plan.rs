//! Decides what the emitters need to know: files, Rust names, and the versions that reach each struct.

use std::collections::BTreeMap;

use crate::parse::SchemaError;
use crate::schema::{Field, Kind, Message, Struct, Type, Versions};

/// One generated file.
pub struct Module<'a> {
    /// Snake-case name of the API, or of the record.
    pub name: String,
    pub kind: Kind,
    pub messages: Vec<Planned<'a>>,
}

impl Module<'_> {
    /// Path below the generated directory.
    pub fn path(&self) -> String {
        match self.kind {
            Kind::Data => format!("data/{}.rs", self.name),
            _ => format!("{}.rs", self.name),
        }
    }
}

/// A message with the names of its structs settled.
pub struct Planned<'a> {
    pub message: &'a Message,
    /// The message itself first, then its structs in the order of the schema.
    pub structs: Vec<PlannedStruct<'a>>,
    rust_names: BTreeMap<&'a str, String>,
}

pub struct PlannedStruct<'a> {
    pub rust_name: String,
    pub fields: &'a [Field],
    /// The versions in which the struct can occur at all.
    pub reach: Versions,
    /// No fewer bytes than this on the wire, in any version.
    pub min_wire: usize,
}

impl Planned<'_> {
    pub fn rust_struct(&self, name: &str) -> &str {
        &self.rust_names[name]
    }

    pub fn min_wire(&self, name: &str) -> usize {
        let rust_name = self.rust_struct(name);
        let found = self.structs.iter().find(|s| s.rust_name == rust_name);
        found.map_or(1, |s| s.min_wire)
    }
}

/// Groups messages into files: a request with its response, a record key with its value, the headers.
pub fn modules(messages: &[Message]) -> Result<Vec<Module<'_>>, SchemaError> {
    let mut groups: Vec<(String, Kind, Vec<&Message>)> = Vec::new();
    for message in messages {
        let (name, kind) = module_of(message);
        match groups.iter_mut().find(|g| (&g.0, g.1) == (&name, kind)) {
            Some(group) => group.2.push(message),
            None => groups.push((name, kind, vec![message])),
        }
    }
    groups
        .into_iter()
        .map(|(name, kind, members)| {
            let messages = members.iter().map(|m| plan_message(m, &members)).collect::<Result<_, _>>()?;
            Ok(Module { name, kind, messages })
        })
        .collect()
}

fn module_of(message: &Message) -> (String, Kind) {
    match message.kind {
        Kind::Request | Kind::Response => (snake(message.api_name()), Kind::Request),
        Kind::Header => ("header".into(), Kind::Header),
        Kind::Data => {
            let name = &message.name;
            let stem = name.strip_suffix("Key").or(name.strip_suffix("Value"));
            (snake(stem.unwrap_or(name)), Kind::Data)
        }
    }
}

fn plan_message<'a>(message: &'a Message, neighbours: &[&'a Message]) -> Result<Planned<'a>, SchemaError> {
    let mut reach = BTreeMap::new();
    spread(message, &message.fields, message.versions, &mut reach);
    let mut rust_names = BTreeMap::new();
    for s in &message.structs {
        let taken = |m: &&&Message| m.name == s.name || m.struct_named(&s.name).is_some();
        let clash = neighbours.iter().filter(taken).count() > 1;
        let prefix = if clash { message.name.as_str() } else { "" };
        rust_names.insert(s.name.as_str(), format!("{prefix}{}", s.name));
    }
    let mut structs = vec![plan_struct(message, &message.name, &message.fields, message.versions)];
    for Struct { name, fields } in &message.structs {
        let Some(versions) = reach.get(name.as_str()) else {
            let what = format!("{}: struct {name} is used in no version", message.name);
            return Err(SchemaError { line: 0, what });
        };
        structs.push(plan_struct(message, &rust_names[name.as_str()], fields, *versions));
    }
    Ok(Planned { message, structs, rust_names })
}

fn plan_struct<'a>(
    message: &Message,
    rust_name: &str,
    fields: &'a [Field],
    reach: Versions,
) -> PlannedStruct<'a> {
    let sizes = (reach.lo..=reach.hi).map(|v| struct_size(message, fields, v));
    PlannedStruct { rust_name: rust_name.into(), fields, reach, min_wire: sizes.min().unwrap_or(0).max(1) }
}

/// Adds the versions in which `fields`, themselves present in `versions`, reach their structs.
fn spread<'a>(
    message: &'a Message,
    fields: &'a [Field],
    versions: Versions,
    reach: &mut BTreeMap<&'a str, Versions>,
) {
    for field in fields {
        let Some(name) = field.ty.struct_name() else {
            continue;
        };
        let Some(here) = field.versions.intersect(versions) else {
            continue;
        };
        let all = reach.get(name).map_or(here, |known| known.hull(here));
        reach.insert(name, all);
        if let Some(inner) = message.struct_named(name) {
            spread(message, &inner.fields, all, reach);
        }
    }
}

fn struct_size(message: &Message, fields: &[Field], version: i16) -> usize {
    let plain = fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
    let size: usize = plain.map(|f| field_size(message, f, version)).sum();
    size + usize::from(message.is_flexible(version))
}

fn field_size(message: &Message, field: &Field, version: i16) -> usize {
    let compact = message.is_flexible(version) && !field.never_compact;
    match &field.ty {
        Type::Bool | Type::Int8 => 1,
        Type::Int16 | Type::Uint16 => 2,
        Type::Int32 => 4,
        Type::Int64 | Type::Float64 => 8,
        Type::Uuid => 16,
        Type::String if compact => 1,
        Type::String => 2,
        Type::Bytes | Type::Records | Type::Array(_) if compact => 1,
        Type::Bytes | Type::Records | Type::Array(_) => 4,
        Type::Struct(_) if field.nullable.is_some() => 1,
        Type::Struct(name) => {
            message.struct_named(name).map_or(0, |s| struct_size(message, &s.fields, version))
        }
    }
}

/// `TransactionalId` → `transactional_id`; `isKRaftController` → `is_kraft_controller`.
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The Rust name of a field; keywords get an underscore behind them.
pub fn field_name(field: &Field) -> String {
    let name = snake(&field.name);
    match name.as_str() {
        "type" | "match" => format!("{name}_"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    /// A struct name used by both messages of a file is told apart by its message's name.
    #[test]
    fn clashing_structs_are_prefixed() {
        let text = "\
VoteRequest  request  api 1  versions 0-1  flexible none
  0+  Topics: []TopicData
    0+  A: int32
VoteResponse  response  api 1  versions 0-1  flexible none
  0+  Topics: []TopicData
    0+  A: int8
  1+  Only: []Once
    0+  B: int64
";
        let messages = parse(text).unwrap();
        let modules = modules(&messages).unwrap();
        assert_eq!(modules.len(), 1);
        let response = &modules[0].messages[1];
        assert_eq!(response.rust_struct("TopicData"), "VoteResponseTopicData");
        assert_eq!(response.rust_struct("Once"), "Once");
        assert_eq!(response.structs[2].reach, Versions { lo: 1, hi: 1 });
        assert_eq!(response.min_wire("Once"), 8);
    }

    #[test]
    fn names() {
        assert_eq!(snake("V3AndBelowTransactionalId"), "v3_and_below_transactional_id");
        assert_eq!(snake("isKRaftController"), "is_kraft_controller");
        assert_eq!(snake("AddOffsetsToTxn"), "add_offsets_to_txn");
    }
}
