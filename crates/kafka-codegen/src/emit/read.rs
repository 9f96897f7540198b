//! Writes the body of a struct's `read`.

use std::fmt::Write;

use super::{Emitter, When, plain_name, push_if, when};
use crate::plan::field_name;
use crate::schema::{Field, Kind, Type};

impl Emitter<'_> {
    pub(super) fn read_body(&self) -> String {
        let mut out = String::new();
        let fields = self.s.fields;
        if fields.is_empty() {
            self.read_tags(&mut out);
            line!(out, "        Ok(Self {{}})");
            return out;
        }
        line!(out, "        let mut m = Self::default();");
        for field in fields.iter().filter(|f| f.tag.is_none()) {
            let set = format!("m.{} = {};", field_name(field), self.read_value(field));
            match when(field.versions, self.s.reach) {
                When::Always => line!(out, "        {set}"),
                When::Test(test) => {
                    line!(out, "        if {test} {{\n            {set}\n        }}");
                }
            }
        }
        self.read_tags(&mut out);
        line!(out, "        Ok(m)");
        out
    }

    fn read_tags(&self, out: &mut String) {
        let flex = self.flex();
        if flex == "false" {
            return;
        }
        let tagged: Vec<_> = self.s.fields.iter().filter(|f| f.tag.is_some()).collect();
        let mut inner = String::new();
        if tagged.is_empty() {
            line!(inner, "r.skip_tags()?;");
        } else {
            line!(inner, "for _ in 0..r.uvarint()? {{");
            line!(inner, "    let tag = r.tag()?;");
            line!(inner, "    match tag.number {{");
            for field in tagged {
                let guard = match when(field.versions, self.s.reach) {
                    When::Test(test) if test != format!("version >= {}", self.flexible_from()) => {
                        format!(" if {test}")
                    }
                    _ => String::new(),
                };
                let number = field.tag.unwrap_or_default();
                let name = field_name(field);
                let value = self.read_value(field);
                line!(inner, "        {number}{guard} => m.{name} = {value},");
            }
            line!(inner, "        _ => r.skip_tag(tag),");
            line!(inner, "    }}\n    r.end_tag(tag)?;\n}}");
        }
        push_if(out, flex, &inner);
    }

    fn read_value(&self, field: &Field) -> String {
        let compact = self.compact(field);
        let null = self.null_test(field);
        let nullable = field.nullable.is_some();
        match &field.ty {
            Type::String if nullable => format!("r.opt_string({compact}, {null})?"),
            Type::Bytes if nullable => format!("r.opt_bytes({compact}, {null})?"),
            Type::Records if self.message().kind == Kind::Response => {
                format!("r.opt_bytes({compact}, {null})?.into()")
            }
            Type::Records => format!("r.opt_bytes({compact}, {null})?"),
            Type::Struct(name) if nullable => {
                let name = self.planned.rust_struct(name);
                format!("if r.present()? {{ Some({name}::read(r, version)?) }} else {{ None }}")
            }
            Type::Struct(name) => format!("{}::read(r, version)?", self.planned.rust_struct(name)),
            Type::Array(item) => {
                let (min, read) = self.item_reader(item, compact);
                if nullable {
                    format!("r.opt_array({compact}, {null}, {min}, {read})?")
                } else {
                    format!("r.array({compact}, {min}, {read})?")
                }
            }
            plain => format!("r.{}?", plain_reader(plain, compact)),
        }
    }

    /// The least size of an item on the wire, and what reads one.
    fn item_reader(&self, item: &Type, compact: &str) -> (usize, String) {
        let at_least = if compact == "false" { 2 } else { 1 };
        match item {
            Type::Struct(name) => {
                let rust_name = self.planned.rust_struct(name);
                let min = self.planned.min_wire(name);
                (min, format!("|r| {rust_name}::read(r, version)"))
            }
            Type::String => (at_least, format!("|r| r.string({compact})")),
            Type::Bytes => (at_least, format!("|r| r.bytes({compact})")),
            Type::Bool | Type::Int8 => (1, format!("Reader::{}", plain_name(item))),
            Type::Int16 | Type::Uint16 => (2, format!("Reader::{}", plain_name(item))),
            Type::Int32 => (4, "Reader::i32".into()),
            Type::Int64 | Type::Float64 => (8, format!("Reader::{}", plain_name(item))),
            Type::Uuid => (16, "Reader::uuid".into()),
            Type::Records | Type::Array(_) => unreachable!("the schema has no such arrays"),
        }
    }
}

fn plain_reader(ty: &Type, compact: &str) -> String {
    match ty {
        Type::String | Type::Bytes => format!("{}({compact})", plain_name(ty)),
        _ => format!("{}()", plain_name(ty)),
    }
}
