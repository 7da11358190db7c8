//! Reading a GraphQL document: as much of the language ([specification](https://spec.graphql.org/October2021/))
//! as one operation with fields, arguments, variables and inline fragments needs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Selections may stand so deep in each other.
const DEPTH: usize = 16;

/// A field that was asked for, with its variables filled in.
pub(super) struct Field {
    /// What its answer is called.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) arguments: BTreeMap<String, Value>,
    pub(super) fields: Vec<Field>,
}

/// The fields of the document's one operation.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn parse(text: &str, variables: &Value) -> Result<Vec<Field>, String> {
    let mut reader = Reader {
        tokens: tokens(text),
        at: 0,
        variables,
        defaults: Map::new(),
    };
    reader.operation()
}

/// Names, numbers and punctuators as they stand; strings with their opening quote.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let mut token = first.to_string();
        match first {
            '#' => {
                while rest.next_if(|it| *it != '\n').is_some() {}
                continue;
            }
            '"' => {
                while let Some(next) = rest.next() {
                    match next {
                        '"' => break,
                        '\\' => token.extend(rest.next().map(unescaped)),
                        other => token.push(other),
                    }
                }
            }
            it if it.is_alphanumeric() || it == '_' || it == '-' => {
                let inner = |it: &char| it.is_alphanumeric() || *it == '_' || *it == '.';
                while let Some(next) = rest.next_if(inner) {
                    token.push(next);
                }
            }
            '.' => {
                while rest.next_if(|it| *it == '.').is_some() {
                    token.push('.');
                }
            }
            it if it.is_whitespace() || it == ',' => continue,
            _ => {}
        }
        tokens.push(token);
    }
    tokens
}

fn unescaped(letter: char) -> char {
    match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        other => other,
    }
}

struct Reader<'a> {
    tokens: Vec<String>,
    at: usize,
    variables: &'a Value,
    defaults: Map<String, Value>,
}

impl Reader<'_> {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn skip(&mut self, wanted: &str) -> bool {
        let found = self.peek() == wanted;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        match self.skip(wanted) {
            true => Ok(()),
            false => Err(format!("Expected \"{wanted}\", got \"{}\"", self.peek())),
        }
    }

    fn operation(&mut self) -> Result<Vec<Field>, String> {
        if ["query", "mutation"].contains(&self.peek()) {
            self.at += 1;
            if !["(", "{"].contains(&self.peek()) {
                self.at += 1;
            }
            if self.skip("(") {
                self.definitions()?;
            }
        }
        let fields = self.selection(DEPTH)?;
        match self.peek() {
            "" => Ok(fields),
            other => Err(format!("Unexpected \"{other}\" after the operation")),
        }
    }

    fn definitions(&mut self) -> Result<(), String> {
        while !self.skip(")") {
            self.expect("$")?;
            let name = self.next();
            self.expect(":")?;
            while !["$", ")", "=", ""].contains(&self.peek()) {
                self.at += 1;
            }
            if self.skip("=") {
                let value = self.value(DEPTH)?;
                self.defaults.insert(name, value);
            }
            if self.peek().is_empty() {
                return Err("Unexpected end of document".to_owned());
            }
        }
        Ok(())
    }

    fn selection(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        if depth == 0 {
            return Err("The document is too deep".to_owned());
        }
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.skip("}") {
            if self.skip("...") {
                if self.skip("on") {
                    self.at += 1;
                }
                fields.extend(self.selection(depth - 1)?);
                continue;
            }
            let key = self.next();
            if key.is_empty() {
                return Err("Unexpected end of document".to_owned());
            }
            let name = match self.skip(":") {
                true => self.next(),
                false => key.clone(),
            };
            let mut arguments = BTreeMap::new();
            if self.skip("(") {
                while !self.skip(")") {
                    let argument = self.next();
                    self.expect(":")?;
                    arguments.insert(argument, self.value(depth)?);
                }
            }
            let inner = match self.peek() {
                "{" => self.selection(depth - 1)?,
                _ => Vec::new(),
            };
            fields.push(Field {
                key,
                name,
                arguments,
                fields: inner,
            });
        }
        Ok(fields)
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth == 0 {
            return Err("The document is too deep".to_owned());
        }
        let token = self.next();
        match token.as_str() {
            "$" => {
                let name = self.next();
                let given = self.variables.get(&name).or(self.defaults.get(&name));
                Ok(given.cloned().unwrap_or(Value::Null))
            }
            "{" => {
                let mut object = Map::new();
                while !self.skip("}") {
                    let name = self.next();
                    self.expect(":")?;
                    object.insert(name, self.value(depth - 1)?);
                }
                Ok(Value::Object(object))
            }
            "[" => {
                let mut list = Vec::new();
                while !self.skip("]") {
                    list.push(self.value(depth - 1)?);
                }
                Ok(Value::Array(list))
            }
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            "" => Err("Unexpected end of document".to_owned()),
            other => {
                match other.strip_prefix('"') {
                    Some(text) => Ok(Value::String(text.to_owned())),
                    None => Ok(serde_json::from_str(other)
                        .unwrap_or_else(|_| Value::String(other.to_owned()))),
                }
            }
        }
    }
}
