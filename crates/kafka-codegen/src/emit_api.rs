//! Writes what spans all APIs: the list of modules, the `ApiKey` enum, the body enums.

use std::fmt::Write;

use crate::emit::head;
use crate::plan::{Module, snake};
use crate::schema::{Kind, Message};

macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{
        let _ = writeln!($out, $($arg)*);
    }};
}

fn module_lines(modules: &[Module<'_>], data: bool) -> String {
    let of_kind = |m: &&Module<'_>| (m.kind == Kind::Data) == data;
    let mut names: Vec<_> = modules.iter().filter(of_kind).map(|m| &m.name).collect();
    names.sort();
    let mut out = String::new();
    for name in names {
        line!(out, "pub mod {name};");
    }
    out
}

pub fn mod_file(modules: &[Module<'_>]) -> String {
    let mut out = head("One module an API.");
    out.push_str("mod api_key;\nmod body;\npub mod data;\n\n");
    out.push_str(&module_lines(modules, false));
    out.push_str("\npub use api_key::ApiKey;\npub use body::{RequestBody, ResponseBody};\n");
    out
}

pub fn data_mod_file(modules: &[Module<'_>]) -> String {
    let mut out = head("Records of internal topics, and blobs inside other messages.");
    out.push_str(&module_lines(modules, true));
    out
}

fn requests(messages: &[Message]) -> impl Iterator<Item = &Message> {
    messages.iter().filter(|m| m.kind == Kind::Request)
}

pub fn api_key_file(messages: &[Message]) -> String {
    let mut out = head("The APIs of the protocol.");
    out.push_str("use crate::messages::ApiInfo;\nuse crate::wire::WireError;\n\n");
    out.push_str("/// The APIs, by their key on the wire.\n");
    out.push_str("#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]\n");
    out.push_str("#[repr(i16)]\npub enum ApiKey {\n");
    for m in requests(messages) {
        line!(out, "    {} = {},", m.api_name(), m.api.unwrap_or(-1));
    }
    out.push_str("}\n\nimpl ApiKey {\n    /// Every API, in the order of the keys.\n");
    out.push_str("    pub const ALL: &'static [Self] = &[\n");
    for m in requests(messages) {
        line!(out, "        Self::{},", m.api_name());
    }
    out.push_str("    ];\n\n    /// Name and versions as the schema has them.\n");
    out.push_str("    pub fn info(self) -> &'static ApiInfo {\n");
    out.push_str("        &INFO[self as usize]\n    }\n}\n\n");
    out.push_str("impl TryFrom<i16> for ApiKey {\n    type Error = WireError;\n\n");
    out.push_str("    fn try_from(key: i16) -> Result<Self, WireError> {\n");
    out.push_str("        let index = usize::try_from(key).ok();\n");
    out.push_str("        let found = index.and_then(|i| Self::ALL.get(i));\n");
    out.push_str("        found.copied().ok_or(WireError::UnknownApi(key))\n    }\n}\n\n");
    line!(out, "static INFO: [ApiInfo; {}] = [", requests(messages).count());
    for m in requests(messages) {
        let from = m.flexible_from.map_or("None".into(), |v| format!("Some({v})"));
        let (name, v) = (m.api_name(), m.versions);
        let unstable = m.latest_unstable;
        line!(out, "    ApiInfo::new(\"{name}\", {}, {}, {from}, {unstable}),", v.lo, v.hi);
    }
    out.push_str("];\n");
    out
}

pub fn body_file(messages: &[Message]) -> String {
    let mut out = head("Any request, any response.");
    let mut modules: Vec<_> = requests(messages).map(|m| snake(m.api_name())).collect();
    modules.sort();
    line!(out, "use super::ApiKey;");
    for name in &modules {
        line!(out, "use super::{name};");
    }
    out.push_str("use crate::messages::Message;\nuse crate::wire::{Reader, WireError, Writer};\n\n");
    body_enum(&mut out, messages, "Request", "request");
    out.push('\n');
    body_enum(&mut out, messages, "Response", "response");
    out
}

fn body_enum(out: &mut String, messages: &[Message], suffix: &str, noun: &str) {
    line!(out, "/// The {noun} of any API, for what must treat all alike.");
    line!(out, "#[derive(Debug, Clone, PartialEq)]\npub enum {suffix}Body {{");
    for m in requests(messages) {
        let api = m.api_name();
        line!(out, "    {api}({}::{api}{suffix}),", snake(api));
    }
    line!(out, "}}\n\nimpl {suffix}Body {{");
    line!(out, "    /// Reads the {noun} of `api`.");
    line!(out, "    pub fn decode(api: ApiKey, r: &mut Reader, version: i16) -> Result<Self, WireError> {{");
    line!(out, "        Ok(match api {{");
    for m in requests(messages) {
        let api = m.api_name();
        line!(out, "            ApiKey::{api} => Self::{api}(Message::decode(r, version)?),");
    }
    line!(out, "        }})\n    }}\n\n    /// Writes it.");
    line!(out, "    pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), WireError> {{");
    line!(out, "        match self {{");
    for m in requests(messages) {
        line!(out, "            Self::{}(m) => m.encode(w, version),", m.api_name());
    }
    line!(out, "        }}\n    }}\n}}");
}
