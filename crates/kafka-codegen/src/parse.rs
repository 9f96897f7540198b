//! Reads the schema text. The notation is explained at the head of `schema/messages.txt`.

use crate::schema::{Field, Kind, Message, Struct, Type, Versions};

/// A line of the schema that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// 1-based; 0 where the error belongs to no line.
    pub line: usize,
    pub what: String,
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "schema line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for SchemaError {}

type Result<T> = std::result::Result<T, SchemaError>;

/// A struct whose fields are being read, with the indentation they must have.
struct Open {
    indent: usize,
    /// `None` is the message itself.
    name: Option<String>,
}

struct Parser {
    line: usize,
    messages: Vec<Message>,
    open: Vec<Open>,
}

/// All messages, in the order of the text.
pub fn parse(text: &str) -> Result<Vec<Message>> {
    let mut parser = Parser { line: 0, messages: Vec::new(), open: Vec::new() };
    for (i, line) in text.lines().enumerate() {
        parser.line = i + 1;
        parser.read_line(line)?;
    }
    for message in &parser.messages {
        parser.check_structs(message)?;
    }
    Ok(parser.messages)
}

impl Parser {
    fn error<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(SchemaError { line: self.line, what: what.into() })
    }

    fn read_line(&mut self, line: &str) -> Result<()> {
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            return Ok(());
        }
        let indent = line.len() - body.len();
        let words: Vec<&str> = body.split_whitespace().collect();
        if indent == 0 {
            return self.read_message(&words);
        }
        if words[0] == "struct" {
            return self.read_struct(indent, &words);
        }
        self.read_field(indent, &words)
    }

    fn read_message(&mut self, words: &[&str]) -> Result<()> {
        let [name, kind, rest @ ..] = words else {
            return self.error("a message needs a name and a kind");
        };
        let kind = match *kind {
            "request" => Kind::Request,
            "response" => Kind::Response,
            "header" => Kind::Header,
            "data" => Kind::Data,
            other => return self.error(format!("unknown kind {other}")),
        };
        let mut message = Message {
            name: (*name).into(),
            kind,
            api: None,
            versions: Versions { lo: 0, hi: -1 },
            flexible_from: None,
            latest_unstable: false,
            fields: Vec::new(),
            structs: Vec::new(),
        };
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            if *word == "latest-unstable" {
                message.latest_unstable = true;
                continue;
            }
            let Some(value) = words.next() else {
                return self.error(format!("{word} needs a value"));
            };
            match *word {
                "api" => message.api = Some(self.number(value)?),
                "versions" => message.versions = self.versions(value)?,
                "flexible" if *value == "none" => {}
                "flexible" => message.flexible_from = Some(self.versions(value)?.lo),
                "listeners" => {}
                other => return self.error(format!("unknown word {other}")),
            }
        }
        self.messages.push(message);
        self.open = vec![Open { indent: 2, name: None }];
        Ok(())
    }

    fn read_struct(&mut self, indent: usize, words: &[&str]) -> Result<()> {
        let [_, name, ..] = words else {
            return self.error("a struct needs a name");
        };
        self.open.truncate(1);
        self.open_struct(indent + 2, name)
    }

    fn open_struct(&mut self, indent: usize, name: &str) -> Result<()> {
        let line = self.line;
        let message = self.message()?;
        if message.struct_named(name).is_some() {
            return Err(SchemaError { line, what: format!("struct {name} is defined twice") });
        }
        message.structs.push(Struct { name: name.into(), fields: Vec::new() });
        self.open.push(Open { indent, name: Some(name.into()) });
        Ok(())
    }

    fn message(&mut self) -> Result<&mut Message> {
        let line = self.line;
        self.messages
            .last_mut()
            .ok_or_else(|| SchemaError { line, what: "a field before the first message".into() })
    }

    /// Finds the struct the field belongs to: indentation closes structs, and a deeper line opens the
    /// struct of the field above it.
    fn read_field(&mut self, indent: usize, words: &[&str]) -> Result<()> {
        while self.open.last().is_some_and(|open| open.indent > indent) {
            self.open.pop();
        }
        let owner = self.open.last().and_then(|open| open.name.clone());
        if self.open.last().is_some_and(|open| open.indent < indent) {
            let above = self.fields_of(owner.as_deref())?.last().cloned();
            let Some(name) = above.and_then(|f| f.ty.struct_name().map(str::to_owned)) else {
                return self.error("indented below a field that is no struct");
            };
            self.open_struct(indent, &name)?;
            return self.read_field(indent, words);
        }
        let field = self.field(words)?;
        self.fields_of(owner.as_deref())?.push(field);
        Ok(())
    }

    fn fields_of(&mut self, owner: Option<&str>) -> Result<&mut Vec<Field>> {
        let message = self.message()?;
        let Some(owner) = owner else {
            return Ok(&mut message.fields);
        };
        let found = message.structs.iter_mut().find(|s| s.name == owner);
        Ok(&mut found.expect("open structs are in the message").fields)
    }

    fn field(&self, words: &[&str]) -> Result<Field> {
        let [versions, name, ty, rest @ ..] = words else {
            return self.error("a field needs versions, a name and a type");
        };
        let Some(name) = name.strip_suffix(':') else {
            return self.error(format!("a colon must follow the name {name}"));
        };
        let versions = self.versions(versions)?;
        let nullable = ty.ends_with('?').then_some(versions);
        let mut field = Field {
            name: name.into(),
            versions,
            ty: parse_type(ty.trim_end_matches('?')),
            nullable,
            default: None,
            tag: None,
            ignorable: false,
            never_compact: false,
        };
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().unwrap_or_default();
            match *word {
                "=" => field.default = Some(value().into()),
                "tag" => field.tag = Some(self.number(value())?),
                "nullable" => field.nullable = Some(self.versions(value())?),
                "flexible" if value() == "none" => field.never_compact = true,
                "ignorable" => field.ignorable = true,
                // Arrays stay arrays here, whatever the original's collection.
                "key" => {}
                other => return self.error(format!("unknown word {other}")),
            }
        }
        Ok(field)
    }

    fn number<N: std::str::FromStr>(&self, text: &str) -> Result<N> {
        match text.parse() {
            Ok(n) => Ok(n),
            Err(_) => self.error(format!("not a number: {text:?}")),
        }
    }

    fn versions(&self, text: &str) -> Result<Versions> {
        if let Some(lo) = text.strip_suffix('+') {
            let lo = self.number(lo)?;
            return Ok(Versions { lo, hi: Versions::OPEN });
        }
        let (lo, hi) = text.split_once('-').unwrap_or((text, text));
        Ok(Versions { lo: self.number(lo)?, hi: self.number(hi)? })
    }

    fn check_structs(&self, message: &Message) -> Result<()> {
        let inner = message.structs.iter().flat_map(|s| &s.fields);
        for field in message.fields.iter().chain(inner) {
            let Some(name) = field.ty.struct_name() else {
                continue;
            };
            if message.struct_named(name).is_none() {
                let what = format!("{}: no struct named {name}", message.name);
                return Err(SchemaError { line: 0, what });
            }
        }
        Ok(())
    }
}

fn parse_type(text: &str) -> Type {
    if let Some(item) = text.strip_prefix("[]") {
        return Type::Array(Box::new(parse_type(item)));
    }
    match text {
        "bool" => Type::Bool,
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "uint16" => Type::Uint16,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        "uuid" => Type::Uuid,
        name => Type::Struct(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# comment
AbcRequest  request  api 9  versions 0-3  flexible 2+  listeners broker
  0+     Groups: []Group? nullable 1+ ignorable
    0-1    Name: string key
    2+     Id: uuid tag 0
  3+     Limit: int32 = -1
  0+     Other: []Shared
  struct Shared  versions 0+
    0+     X: int8
";

    /// Indentation nests structs, words after the type set the field's traits.
    #[test]
    fn reads_the_notation() {
        let messages = parse(TEXT).unwrap();
        let [m] = messages.as_slice() else {
            panic!("one message");
        };
        assert_eq!((m.api, m.flexible_from), (Some(9), Some(2)));
        let names: Vec<_> = m.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["Groups", "Limit", "Other"]);
        assert_eq!(m.fields[0].nullable.map(|v| v.lo), Some(1));
        assert!(m.fields[0].ignorable);
        assert_eq!(m.fields[1].default.as_deref(), Some("-1"));
        let group = m.struct_named("Group").unwrap();
        assert_eq!(group.fields[0].versions, Versions { lo: 0, hi: 1 });
        assert_eq!(group.fields[1].tag, Some(0));
        assert_eq!(m.struct_named("Shared").unwrap().fields.len(), 1);
    }

    /// Mistakes are named with their line.
    #[test]
    fn mistakes_have_lines() {
        let check = |text: &str, line: usize| {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        };
        check("X  request  versions 0\n  0+  A: int8 sometimes\n", 2);
        check("X  thing  versions 0\n", 1);
        check("X  data  versions 0\n  0+  A: int8\n    0+  B: int8\n", 3);
        check("X  data  versions 0\n  0+  A: []Missing\n", 0);
    }
}
