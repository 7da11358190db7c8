//! A tree and an object → whether it holds.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use serde_json::Value as Json;

use super::parser::{Binary, Each, Function, Macro, Node};
use super::value::Value;

/// How much one evaluation may cost: nodes visited, elements and 16-byte pieces of text looked at. A
/// rule over a few hundred conditions needs some thousands; all of it takes milliseconds.
const STEPS_MAX: usize = 200_000;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Fault {
    /// A field, key or element is not there.
    Missing(String),
    /// The values do not fit what is done with them.
    Wrong(String),
    /// It costs too much.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "there is no {what}"),
            Self::Wrong(what) => f.write_str(what),
            Self::TooLong => f.write_str("it takes too many steps for this object"),
        }
    }
}

type Outcome<'a> = Result<Value<'a>, Fault>;

/// Whether the tree's value is `true`.
pub(super) fn holds(tree: &Node, object: &Json) -> Result<bool, Fault> {
    let mut run = Run {
        object,
        scope: Vec::new(),
        left: STEPS_MAX,
    };
    run.truth(tree)
}

struct Run<'a> {
    object: &'a Json,
    /// The variables of macros, innermost last.
    scope: Vec<(&'a str, Value<'a>)>,
    left: usize,
}

impl<'a> Run<'a> {
    fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        self.pay(1)?;
        match node {
            Node::Null => Ok(Value::Null),
            Node::Bool(it) => Ok(Value::Bool(*it)),
            Node::Int(it) => Ok(Value::Int(*it)),
            Node::Double(it) => Ok(Value::Double(*it)),
            Node::Text(text) => Ok(Value::Text(Cow::Borrowed(text))),
            Node::List(items) => {
                let items: Result<_, _> = items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(Rc::new(items?)))
            }
            Node::Name(name) => self.variable(name),
            Node::Field(of, name) => {
                let of = self.value(of)?;
                field(&of, name)?.ok_or_else(|| Fault::Missing(format!("`{name}`")))
            }
            Node::Has(of, name) => {
                let of = self.value(of)?;
                Ok(Value::Bool(field(&of, name)?.is_some()))
            }
            Node::Index(of, at) => {
                let (of, at) = (self.value(of)?, self.value(at)?);
                index(&of, &at)
            }
            Node::Not(of) => Ok(Value::Bool(!self.truth(of)?)),
            Node::Minus(of) => match self.value(of)? {
                Value::Int(it) => it.checked_neg().map(Value::Int).ok_or_else(overflow),
                Value::Double(it) => Ok(Value::Double(-it)),
                other => Err(Fault::Wrong(format!("{} has no negative", other.kind()))),
            },
            Node::And(one, other) => self.either(one, other, false),
            Node::Or(one, other) => self.either(one, other, true),
            Node::If(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let chosen = if self.truth(condition)? {
                    then
                } else {
                    otherwise
                };
                self.value(chosen)
            }
            Node::Binary(operator, one, other) => {
                let (one, other) = (self.value(one)?, self.value(other)?);
                self.binary(*operator, &one, &other)
            }
            Node::Call(function, arguments) => {
                let arguments: Result<Vec<_>, _> =
                    arguments.iter().map(|it| self.value(it)).collect();
                self.call(*function, &arguments?)
            }
            Node::Each(each) => self.each(each),
        }
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, Fault> {
        match self.value(node)? {
            Value::Bool(it) => Ok(it),
            other => Err(Fault::Wrong(format!(
                "{} stands where true or false is needed",
                other.kind()
            ))),
        }
    }

    fn variable(&mut self, name: &str) -> Outcome<'a> {
        let local = self.scope.iter().rev().find(|(it, _)| *it == name);
        if let Some(value) = local.map(|(_, value)| value.clone()) {
            self.pay(value.weight())?;
            return Ok(value);
        }
        let found = self.object.get(name).map(Value::from);
        found.ok_or_else(|| Fault::Missing(format!("`{name}`")))
    }

    /// `||` with `deciding` true, `&&` with false: a side that decides wins over one that fails.
    fn either(&mut self, one: &'a Node, other: &'a Node, deciding: bool) -> Outcome<'a> {
        let first = self.truth(one);
        if first == Ok(deciding) || first == Err(Fault::TooLong) {
            return first.map(Value::Bool);
        }
        let second = self.truth(other);
        if second == Ok(deciding) || second == Err(Fault::TooLong) {
            return second.map(Value::Bool);
        }
        first.and(second).map(Value::Bool)
    }

    fn binary(&mut self, operator: Binary, one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
        use Binary::{
            Add, Divide, Equal, Greater, GreaterOrEqual, In, Less, LessOrEqual, Multiply,
            Remainder, Subtract, Unequal,
        };
        let truth = match operator {
            Equal => self.equal(one, other)?,
            Unequal => !self.equal(one, other)?,
            In => self.contained(one, other)?,
            Less => self.order(one, other)? == Some(Ordering::Less),
            LessOrEqual => self.order(one, other)?.is_some_and(Ordering::is_le),
            Greater => self.order(one, other)? == Some(Ordering::Greater),
            GreaterOrEqual => self.order(one, other)?.is_some_and(Ordering::is_ge),
            Add | Subtract | Multiply | Divide | Remainder => {
                return self.compute(operator, one, other);
            }
        };
        Ok(Value::Bool(truth))
    }

    fn compute(&mut self, operator: Binary, one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
        self.pay(one.weight() + other.weight())?;
        match (one, other) {
            (Value::Int(one), Value::Int(other)) => match operator {
                Binary::Add => one.checked_add(*other),
                Binary::Subtract => one.checked_sub(*other),
                Binary::Multiply => one.checked_mul(*other),
                Binary::Divide => one.checked_div(*other),
                _ => one.checked_rem(*other),
            }
            .map(Value::Int)
            .ok_or_else(overflow),
            (Value::Double(one), Value::Double(other)) if operator != Binary::Remainder => {
                Ok(Value::Double(match operator {
                    Binary::Add => one + other,
                    Binary::Subtract => one - other,
                    Binary::Multiply => one * other,
                    _ => one / other,
                }))
            }
            (Value::Text(one), Value::Text(other)) if operator == Binary::Add => {
                Ok(Value::Text(Cow::Owned(format!("{one}{other}"))))
            }
            _ => Err(Fault::Wrong(format!(
                "{} and {} cannot be computed with each other",
                one.kind(),
                other.kind()
            ))),
        }
    }

    fn order(&mut self, one: &Value<'a>, other: &Value<'a>) -> Result<Option<Ordering>, Fault> {
        self.pay(one.weight().min(other.weight()))?;
        let order = one.order(other);
        let is_nan = |value: &Value<'_>| matches!(value, Value::Double(it) if it.is_nan());
        if order.is_none() && !is_nan(one) && !is_nan(other) {
            return Err(Fault::Wrong(format!(
                "{} and {} have no order",
                one.kind(),
                other.kind()
            )));
        }
        Ok(order)
    }

    /// Values of different kinds are never equal; an integer may equal a double.
    fn equal(&mut self, one: &Value<'a>, other: &Value<'a>) -> Result<bool, Fault> {
        self.pay(1 + one.weight().min(other.weight()))?;
        match (one, other) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Map(one), Value::Map(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (key, value) in one.iter() {
                    let Some(other) = other.get(key) else {
                        return Ok(false);
                    };
                    if !self.equal(&value.into(), &other.into())? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Items(_) | Value::List(_), Value::Items(_) | Value::List(_)) => {
                let (one, other) = (self.elements(one)?, self.elements(other)?);
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(&other) {
                    if !self.equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(one.order(other) == Some(Ordering::Equal)),
        }
    }

    fn contained(&mut self, one: &Value<'a>, other: &Value<'a>) -> Result<bool, Fault> {
        if let (Value::Map(map), Value::Text(key)) = (other, one) {
            return Ok(map.contains_key(key.as_ref()));
        }
        for element in self.elements(other)? {
            if self.equal(one, &element)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn elements(&mut self, of: &Value<'a>) -> Result<Vec<Value<'a>>, Fault> {
        self.pay(of.weight())?;
        of.elements()
            .ok_or_else(|| Fault::Wrong(format!("{} has no elements", of.kind())))
    }

    fn each(&mut self, each: &'a Each) -> Outcome<'a> {
        let of = self.value(&each.of)?;
        let elements = self.elements(&of)?;
        match &each.what {
            Macro::All(test) => self.until(each, test, elements, false),
            Macro::Exists(test) => self.until(each, test, elements, true),
            Macro::ExistsOne(test) => {
                let kept = self.kept(each, test, elements)?;
                Ok(Value::Bool(kept.len() == 1))
            }
            Macro::Filter(test) => Ok(Value::List(Rc::new(self.kept(each, test, elements)?))),
            Macro::Map(test, becomes) => {
                let elements = match test {
                    Some(test) => self.kept(each, test, elements)?,
                    None => elements,
                };
                let mapped: Result<_, _> = elements
                    .into_iter()
                    .map(|element| self.with(each, element, |run| run.value(becomes)))
                    .collect();
                Ok(Value::List(Rc::new(mapped?)))
            }
        }
    }

    /// As a chain of `||` (deciding true) or `&&` (false) over the elements.
    fn until(
        &mut self,
        each: &'a Each,
        test: &'a Node,
        elements: Vec<Value<'a>>,
        deciding: bool,
    ) -> Outcome<'a> {
        let mut outcome = Ok(!deciding);
        for element in elements {
            let found = self.with(each, element, |run| run.truth(test));
            if found == Ok(deciding) || found == Err(Fault::TooLong) {
                return found.map(Value::Bool);
            }
            outcome = outcome.and(found);
        }
        outcome.map(Value::Bool)
    }

    fn kept(
        &mut self,
        each: &'a Each,
        test: &'a Node,
        elements: Vec<Value<'a>>,
    ) -> Result<Vec<Value<'a>>, Fault> {
        let mut kept = Vec::new();
        for element in elements {
            if self.with(each, element.clone(), |run| run.truth(test))? {
                kept.push(element);
            }
        }
        Ok(kept)
    }

    fn with<T>(
        &mut self,
        each: &'a Each,
        element: Value<'a>,
        act: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.pay(element.weight())?;
        self.scope.push((&each.name, element));
        let outcome = act(self);
        self.scope.pop();
        outcome
    }

    fn call(&mut self, function: Function, arguments: &[Value<'a>]) -> Outcome<'a> {
        self.pay(arguments.iter().map(Value::weight).sum())?;
        let wrong = || {
            let kinds: Vec<_> = arguments.iter().map(Value::kind).collect();
            Fault::Wrong(format!(
                "`{}` takes no {}",
                function.name(),
                kinds.join(" with ").replace("a ", "").replace("an ", "")
            ))
        };
        match (function, arguments) {
            (Function::Size, [Value::Text(text)]) => length(text.chars().count()),
            (Function::Size, [of]) => match of {
                Value::Items(items) => length(items.len()),
                Value::List(items) => length(items.len()),
                Value::Map(map) => length(map.len()),
                _ => Err(wrong()),
            },
            (Function::StartsWith, [Value::Text(of), Value::Text(part)]) => {
                Ok(Value::Bool(of.starts_with(part.as_ref())))
            }
            (Function::EndsWith, [Value::Text(of), Value::Text(part)]) => {
                Ok(Value::Bool(of.ends_with(part.as_ref())))
            }
            (Function::Contains, [Value::Text(of), Value::Text(part)]) => {
                Ok(Value::Bool(of.contains(part.as_ref())))
            }
            (Function::Int | Function::Double | Function::Text, [of]) => {
                converted(function, of).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn pay(&mut self, steps: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(steps).ok_or(Fault::TooLong)?;
        Ok(())
    }
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
        }
    }
}

/// What has no fields at all yet, as a status that is null, lacks each of them.
fn field<'a>(of: &Value<'a>, name: &str) -> Result<Option<Value<'a>>, Fault> {
    match of {
        Value::Map(map) => Ok(map.get(name).map(Value::from)),
        Value::Null => Ok(None),
        other => Err(Fault::Wrong(format!(
            "{} has no field `{name}`",
            other.kind()
        ))),
    }
}

fn index<'a>(of: &Value<'a>, at: &Value<'a>) -> Outcome<'a> {
    let found = match (of, at) {
        (Value::Map(map), Value::Text(key)) => map.get(key.as_ref()).map(Value::from),
        (Value::Items(items), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| items.get(at))
            .map(Value::from),
        (Value::List(items), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| items.get(at))
            .cloned(),
        _ => {
            let (of, at) = (of.kind(), at.kind());
            return Err(Fault::Wrong(format!("{of} has no index that is {at}")));
        }
    };
    found.ok_or_else(|| Fault::Missing("such element".to_owned()))
}

fn converted<'a>(function: Function, of: &Value<'a>) -> Option<Value<'a>> {
    match (function, of) {
        (Function::Int, Value::Int(_))
        | (Function::Double, Value::Double(_))
        | (Function::Text, Value::Text(_)) => Some(of.clone()),
        (Function::Int, Value::Text(text)) => text.parse().ok().map(Value::Int),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a double is cut towards zero, and checked to fit"
        )]
        (Function::Int, Value::Double(it)) if it.abs() < 9e18 => Some(Value::Int(*it as i64)),
        (Function::Double, Value::Text(text)) => text.parse().ok().map(Value::Double),
        #[expect(
            clippy::cast_precision_loss,
            reason = "what `double` of an integer means"
        )]
        (Function::Double, Value::Int(it)) => Some(Value::Double(*it as f64)),
        (Function::Text, Value::Int(it)) => Some(Value::Text(Cow::Owned(it.to_string()))),
        (Function::Text, Value::Double(it)) => Some(Value::Text(Cow::Owned(it.to_string()))),
        (Function::Text, Value::Bool(it)) => Some(Value::Text(Cow::Owned(it.to_string()))),
        _ => None,
    }
}

fn length<'a>(of: usize) -> Outcome<'a> {
    i64::try_from(of).map(Value::Int).map_err(|_| overflow())
}

fn overflow() -> Fault {
    Fault::Wrong("a number is too large, or divided by zero".to_owned())
}
