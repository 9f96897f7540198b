//! Writes the body of a struct's `write`.

use std::fmt::Write;

use super::{Emitter, When, indent, plain_name, push_if, when};
use crate::plan::field_name;
use crate::schema::{Field, Kind, Type};

impl Emitter<'_> {
    pub(super) fn write_body(&self) -> String {
        let mut out = String::new();
        for field in self.s.fields {
            let test = match when(field.versions, self.s.reach) {
                When::Always => None,
                When::Test(test) => Some(test),
            };
            let absent = (!field.ignorable && test.is_some()).then(|| self.absent(field));
            if field.tag.is_some() {
                if let (Some(test), Some(absent)) = (test, absent) {
                    push_if(&mut out, &format!("!({test})"), &absent);
                }
                continue;
            }
            let write = self.write_value(field);
            match test {
                None => push_if(&mut out, "true", &write),
                Some(test) => {
                    push_if(&mut out, &test, &write);
                    if let Some(absent) = absent {
                        out.truncate(out.trim_end().len());
                        out.push_str(" else {\n");
                        indent(&mut out, &absent, 12);
                        out.push_str("        }\n");
                    }
                }
            }
        }
        self.write_tags(&mut out);
        line!(out, "        Ok(())");
        simplify_tests(&out)
    }

    fn absent(&self, field: &Field) -> String {
        let is_default = self.is_default(field);
        let path = format!("{}.{}", self.s.rust_name, field_name(field));
        format!("absent({is_default}, \"{path}\", version)?;\n")
    }

    fn is_default(&self, field: &Field) -> String {
        let name = format!("self.{}", field_name(field));
        if field.default_is_null() {
            return format!("{name}.is_none()");
        }
        let nullable = field.nullable.is_some();
        match &field.ty {
            Type::String if nullable => format!("{name}.as_deref() == Some(\"\")"),
            Type::Bytes | Type::Array(_) if nullable => {
                format!("{name}.as_ref().is_some_and(|v| v.is_empty())")
            }
            Type::String | Type::Bytes | Type::Array(_) => format!("{name}.is_empty()"),
            Type::Bool if field.default.as_deref() == Some("true") => name,
            Type::Bool => format!("!{name}"),
            Type::Uuid => format!("{name}.is_zero()"),
            _ => format!("{name} == {}", self.default_value(field)),
        }
    }

    fn write_tags(&self, out: &mut String) {
        let flex = self.flex();
        if flex == "false" {
            return;
        }
        let mut tagged: Vec<_> = self.s.fields.iter().filter(|f| f.tag.is_some()).collect();
        tagged.sort_by_key(|f| f.tag);
        if tagged.is_empty() {
            push_if(out, flex, "w.no_tags();\n");
            return;
        }
        let mut inner = String::from("let tags = w.begin_tags();\n");
        for field in tagged {
            let guard = match when(field.versions, self.s.reach) {
                When::Test(test) if test != format!("version >= {}", self.flexible_from()) => {
                    format!("{test} && ")
                }
                _ => String::new(),
            };
            let number = field.tag.unwrap_or_default();
            line!(inner, "if {guard}!({}) {{", self.is_default(field));
            line!(inner, "    let mark = w.begin_tag(&tags, {number});");
            indent(&mut inner, &self.write_value(field), 4);
            line!(inner, "    w.end_tag(mark)?;\n}}");
        }
        push_if(out, flex, &inner);
    }

    fn write_value(&self, field: &Field) -> String {
        let name = format!("self.{}", field_name(field));
        let compact = self.compact(field);
        let null = self.null_test(field);
        let nullable = field.nullable.is_some();
        match &field.ty {
            Type::String if nullable => {
                format!("w.opt_string({name}.as_deref(), {compact}, {null})?;\n")
            }
            Type::String => format!("w.string(&{name}, {compact})?;\n"),
            Type::Bytes if nullable => {
                format!("w.opt_bytes({name}.as_deref(), {compact}, {null})?;\n")
            }
            Type::Bytes => format!("w.bytes(&{name}, {compact})?;\n"),
            Type::Records if self.message().kind == Kind::Response => {
                format!("w.records(&{name}, {compact}, {null})?;\n")
            }
            Type::Records => format!("w.opt_record_bytes({name}.as_ref(), {compact}, {null})?;\n"),
            Type::Struct(_) if nullable => format!(
                "w.present({name}.is_some());\n\
                 if let Some(inner) = &{name} {{\n    inner.write(w, version)?;\n}}\n"
            ),
            Type::Struct(_) => format!("{name}.write(w, version)?;\n"),
            Type::Array(item) => {
                let item = item_writer(item, compact);
                if nullable {
                    format!(
                        "w.opt_array_len({name}.as_ref().map(Vec::len), {compact}, {null})?;\n\
                         for item in {name}.iter().flatten() {{\n    {item}\n}}\n"
                    )
                } else {
                    format!(
                        "w.array_len({name}.len(), {compact})?;\n\
                         for item in &{name} {{\n    {item}\n}}\n"
                    )
                }
            }
            plain => format!("w.{}({name});\n", plain_name(plain)),
        }
    }
}

fn item_writer(item: &Type, compact: &str) -> String {
    match item {
        Type::Struct(_) => "item.write(w, version)?;".into(),
        Type::String => format!("w.string(item, {compact})?;"),
        Type::Bytes => format!("w.bytes(item, {compact})?;"),
        plain => format!("w.{}(*item);", plain_name(plain)),
    }
}

/// Turns the negations above into the form a person would write.
fn simplify_tests(code: &str) -> String {
    let mut out = String::new();
    for text in code.lines() {
        line!(out, "{}", simplify(text));
    }
    out
}

fn simplify(text: &str) -> String {
    let Some((before, rest)) = text.split_once("!(") else {
        return text.into();
    };
    let Some(inner) = rest.strip_suffix(") {") else {
        return text.into();
    };
    let flipped = if let Some(name) = inner.strip_suffix(".is_none()") {
        format!("{name}.is_some()")
    } else if let Some(name) = inner.strip_prefix('!') {
        name.into()
    } else if let Some((left, right)) = inner.split_once(" == ") {
        format!("{left} != {right}")
    } else if let Some((left, right)) = inner.split_once(" >= ") {
        format!("{left} < {right}")
    } else if let Some((left, right)) = inner.split_once(" <= ") {
        format!("{left} > {right}")
    } else {
        format!("!{inner}")
    };
    format!("{before}{flipped} {{")
}
