//! Tokens → a tree that is neither deep nor large.

use super::Invalid;
use super::lexer::{Kind, Token, tokens};

/// Longer texts are no health rules; it also bounds the tree.
const LENGTH_MAX: usize = 4096;

/// Deeper trees are not walked: a walk must fit the smallest stack it may run on.
const DEPTH_MAX: usize = 48;

/// A tree.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Node>),
    /// A variable.
    Name(String),
    /// `of.field`
    Field(Box<Node>, String),
    /// `has(of.field)`
    Has(Box<Node>, String),
    /// `of[at]`
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Minus(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    /// `condition ? then : otherwise`
    If(Box<[Node; 3]>),
    Binary(Binary, Box<Node>, Box<Node>),
    /// A function, or a method with its receiver first.
    Call(Function, Vec<Node>),
    Each(Box<Each>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Int,
    Double,
    Text,
    StartsWith,
    EndsWith,
    Contains,
}

/// A macro over the elements of a list or the keys of a map.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) of: Node,
    pub(super) name: String,
    pub(super) what: Macro,
}

#[derive(Debug)]
pub(super) enum Macro {
    All(Node),
    Exists(Node),
    ExistsOne(Node),
    Filter(Node),
    /// The elements that count, and what they become.
    Map(Option<Node>, Node),
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Node, Invalid> {
    if text.len() > LENGTH_MAX {
        return Err(Invalid {
            column: 1,
            what: format!("an expression has at most {LENGTH_MAX} bytes"),
        });
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: tokens.iter(),
        depth: 0,
    };
    let (node, _) = parser.conditional()?;
    match parser.next() {
        token if token.kind == Kind::End => Ok(node),
        token => Err(unexpected(token)),
    }
}

/// A node and the height of its tree.
type Tree = (Node, usize);

struct Parser<'a> {
    tokens: std::slice::Iter<'a, Token>,
    depth: usize,
}

/// Binary operators by how tightly they bind.
const LEVELS: [&[(&str, Option<Binary>)]; 5] = [
    &[("||", None)],
    &[("&&", None)],
    &[
        ("==", Some(Binary::Equal)),
        ("!=", Some(Binary::Unequal)),
        ("<=", Some(Binary::LessOrEqual)),
        (">=", Some(Binary::GreaterOrEqual)),
        ("<", Some(Binary::Less)),
        (">", Some(Binary::Greater)),
        ("in", Some(Binary::In)),
    ],
    &[("+", Some(Binary::Add)), ("-", Some(Binary::Subtract))],
    &[
        ("*", Some(Binary::Multiply)),
        ("/", Some(Binary::Divide)),
        ("%", Some(Binary::Remainder)),
    ],
];

impl<'a> Parser<'a> {
    fn conditional(&mut self) -> Result<Tree, Invalid> {
        self.depth += 1;
        let (condition, height) = self.binary(0)?;
        let tree = if self.takes("?") {
            let then = self.binary(0)?;
            self.expect(":")?;
            let otherwise = self.conditional()?;
            let highest = height.max(then.1).max(otherwise.1);
            let parts = Box::new([condition, then.0, otherwise.0]);
            self.grown(Node::If(parts), highest)?
        } else {
            (condition, height)
        };
        self.depth -= 1;
        Ok(tree)
    }

    fn binary(&mut self, level: usize) -> Result<Tree, Invalid> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let (mut left, mut height) = self.binary(level + 1)?;
        while let Some((sign, operator)) = operators.iter().find(|(sign, _)| self.takes(sign)) {
            let (right, right_height) = self.binary(level + 1)?;
            let (one, other) = (Box::new(left), Box::new(right));
            let node = match operator {
                Some(operator) => Node::Binary(*operator, one, other),
                None if *sign == "||" => Node::Or(one, other),
                None => Node::And(one, other),
            };
            (left, height) = self.grown(node, height.max(right_height))?;
        }
        Ok((left, height))
    }

    fn unary(&mut self) -> Result<Tree, Invalid> {
        let wrap: fn(Box<Node>) -> Node = if self.takes("!") {
            Node::Not
        } else if self.takes("-") {
            Node::Minus
        } else {
            return self.member();
        };
        self.depth += 1;
        self.grown(Node::Null, self.depth)?;
        let (of, height) = self.unary()?;
        self.depth -= 1;
        self.grown(wrap(Box::new(of)), height)
    }

    fn member(&mut self) -> Result<Tree, Invalid> {
        let (mut node, mut height) = self.primary()?;
        loop {
            if self.takes("[") {
                let (at, at_height) = self.conditional()?;
                self.expect("]")?;
                let index = Node::Index(Box::new(node), Box::new(at));
                (node, height) = self.grown(index, height.max(at_height))?;
            } else if self.takes(".") {
                let (name, token) = self.name()?;
                (node, height) = if self.takes("(") {
                    self.method(node, height, name, token)?
                } else {
                    self.grown(Node::Field(Box::new(node), name.to_owned()), height)?
                };
            } else {
                return Ok((node, height));
            }
        }
    }

    fn primary(&mut self) -> Result<Tree, Invalid> {
        // A bracket is the one way to be deep without being high.
        self.grown(Node::Null, self.depth)?;
        let token = self.next();
        let node = match &token.kind {
            Kind::Int(number) => Node::Int(*number),
            Kind::Double(number) => Node::Double(*number),
            Kind::Text(text) => Node::Text(text.clone()),
            Kind::Sign("(") => {
                let tree = self.conditional()?;
                self.expect(")")?;
                return Ok(tree);
            }
            Kind::Sign("[") => {
                let (items, height) = self.list("]")?;
                return self.grown(Node::List(items), height);
            }
            Kind::Name(name) => match name.as_str() {
                "null" => Node::Null,
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "in" => return Err(unexpected(token)),
                name if self.takes("(") => return self.function(name, token),
                name => Node::Name(name.to_owned()),
            },
            _ => return Err(unexpected(token)),
        };
        Ok((node, 1))
    }

    fn function(&mut self, name: &str, token: &Token) -> Result<Tree, Invalid> {
        let (mut arguments, height) = self.list(")")?;
        if name == "has" {
            return match (arguments.pop(), arguments.is_empty()) {
                (Some(Node::Field(of, field)), true) => self.grown(Node::Has(of, field), height),
                _ => Err(wrong(token, "write `has(object.field)`")),
            };
        }
        let function = match (name, arguments.len()) {
            ("size", 1) => Function::Size,
            ("int", 1) => Function::Int,
            ("double", 1) => Function::Double,
            ("string", 1) => Function::Text,
            _ => return Err(unsupported(name, arguments.len(), token)),
        };
        self.grown(Node::Call(function, arguments), height)
    }

    fn method(
        &mut self,
        of: Node,
        of_height: usize,
        name: &str,
        token: &Token,
    ) -> Result<Tree, Invalid> {
        let (mut arguments, height) = self.list(")")?;
        let height = height.max(of_height);
        let function = match (name, arguments.len()) {
            ("size", 0) => Function::Size,
            ("startsWith", 1) => Function::StartsWith,
            ("endsWith", 1) => Function::EndsWith,
            ("contains", 1) => Function::Contains,
            _ => {
                let each = each(of, name, arguments, token)?;
                return self.grown(Node::Each(Box::new(each)), height);
            }
        };
        arguments.insert(0, of);
        self.grown(Node::Call(function, arguments), height)
    }

    /// Expressions up to a closing bracket, and the height of the highest.
    fn list(&mut self, closing: &'static str) -> Result<(Vec<Node>, usize), Invalid> {
        let mut items = Vec::new();
        let mut highest = 0;
        while !self.takes(closing) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            let (item, height) = self.conditional()?;
            highest = highest.max(height);
            items.push(item);
        }
        Ok((items, highest))
    }

    /// The node over a tree of such a height, unless that becomes too high.
    fn grown(&self, node: Node, height: usize) -> Result<Tree, Invalid> {
        if height >= DEPTH_MAX {
            return Err(Invalid {
                column: self.peek().map_or(1, |token| token.column),
                what: "the expression is nested too deeply".to_owned(),
            });
        }
        Ok((node, height + 1))
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = match self.peek().map(|token| &token.kind) {
            Some(Kind::Sign(it)) => *it == sign,
            Some(Kind::Name(name)) => sign == "in" && name == "in",
            _ => false,
        };
        if found {
            self.tokens.next();
        }
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Invalid> {
        if self.takes(sign) {
            return Ok(());
        }
        let token = self.next();
        Err(wrong(token, &format!("`{sign}` is missing here")))
    }

    fn name(&mut self) -> Result<(&'a str, &'a Token), Invalid> {
        let token = self.next();
        match &token.kind {
            Kind::Name(name) => Ok((name, token)),
            _ => Err(wrong(token, "a field's name is missing here")),
        }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.as_slice().first()
    }

    /// The next token; the end again and again where there is no more.
    fn next(&mut self) -> &'a Token {
        const END: &Token = &Token {
            column: 1,
            kind: Kind::End,
        };
        let token = self.peek().unwrap_or(END);
        if token.kind != Kind::End {
            self.tokens.next();
        }
        token
    }
}

fn each(of: Node, name: &str, arguments: Vec<Node>, token: &Token) -> Result<Each, Invalid> {
    let count = arguments.len();
    let mut arguments = arguments.into_iter();
    let (first, second, third) = (arguments.next(), arguments.next(), arguments.next());
    let (Some(Node::Name(variable)), Some(second), 2..=3) = (first, second, count) else {
        return Err(unsupported(name, count, token));
    };
    let what = match (name, third) {
        ("all", None) => Macro::All(second),
        ("exists", None) => Macro::Exists(second),
        ("exists_one", None) => Macro::ExistsOne(second),
        ("filter", None) => Macro::Filter(second),
        ("map", None) => Macro::Map(None, second),
        ("map", Some(third)) => Macro::Map(Some(second), third),
        _ => return Err(unsupported(name, count, token)),
    };
    Ok(Each {
        of,
        name: variable,
        what,
    })
}

fn unsupported(name: &str, arguments: usize, token: &Token) -> Invalid {
    let plural = if arguments == 1 { "" } else { "s" };
    wrong(
        token,
        &format!(
            "`{name}` with {arguments} argument{plural} is not supported; there are has, size, int, double, string, startsWith, endsWith, contains, all, exists, exists_one, filter and map"
        ),
    )
}

fn unexpected(token: &Token) -> Invalid {
    let what = match &token.kind {
        Kind::End => "the expression ends too early".to_owned(),
        Kind::Sign("{") => "maps are not supported".to_owned(),
        Kind::Sign(sign) => format!("`{sign}` does not belong here"),
        Kind::Name(name) => format!("`{name}` does not belong here"),
        Kind::Text(_) => "a text does not belong here".to_owned(),
        Kind::Int(_) | Kind::Double(_) => "a number does not belong here".to_owned(),
    };
    wrong(token, &what)
}

fn wrong(token: &Token, what: &str) -> Invalid {
    Invalid {
        column: token.column,
        what: what.to_owned(),
    }
}
