//! Names bound, types checked: an expression as written becomes one that can be evaluated.
//!
//! A wrong name or type is an error here, with its place; what is left are errors of single rows.

use std::collections::HashSet;
use std::sync::Arc;

use crate::ast::{BinaryOperator, Expr, ExprKind, Literal, Name, SpanUnit, TypeName};
use crate::cast::castable;
use crate::coerce::{arithmetic, as_decimal, common, widens};
use crate::error::{Cause, Place, Result, RowCause, SqlError};
use crate::evaluate::{Compiled, LIKE_BYTES_MAX, Node, Operation, constant_value};
use crate::functions::function::{Body, Function, Type};
use crate::functions::{java_time, table};
use crate::schema::{ColumnRef, LookupError, Schema, nearest};
use crate::value::{SqlType, StructField, Value};
use crate::words::quoted;

/// Lists of constants after IN that are longer than this are looked up in a set.
const COMPARED_MAX: usize = 16;

/// Functions that make a large value of small arguments. Their calls are not computed ahead, however constant: a short
/// text can hold thousands of them.
const GROWING: [&str; 3] = ["LPAD", "RPAD", "GENERATE_SERIES"];

/// The largest constant that is computed ahead and kept, in bytes.
const FOLDED_BYTES_MAX: usize = 4 * 1024;

/// Columns that hold moments as BIGINT, and may be compared with texts.
const MOMENTS: [&str; 3] = ["ROWTIME", "WINDOWSTART", "WINDOWEND"];

/// Checks an expression against the columns it may use.
///
/// ```
/// use thalweg_sql::{compile::compile, parse::expression, Column, Schema, SqlType};
/// let stars = Column::new("STARS", SqlType::Int);
/// let schema = Schema::new(vec![], vec![stars]).unwrap();
/// let compiled = compile(&expression("stars + 1").unwrap(), &schema).unwrap();
/// assert_eq!(*compiled.sql_type(), SqlType::Int);
/// let refused = compile(&expression("stars +\n 'x'").unwrap(), &schema).unwrap_err();
/// assert_eq!(refused.place.line, 1);
/// ```
///
/// # Errors
/// Whatever is wrong with a name or a type.
pub fn compile(expr: &Expr, schema: &Schema) -> Result<Compiled> {
    finish(expr, Compiler { schema }.typed(expr)?)
}

/// Checks a condition.
///
/// # Errors
/// As [`compile`], and [`Cause::WrongType`] when it is not BOOLEAN.
pub fn condition(expr: &Expr, schema: &Schema) -> Result<Compiled> {
    let typed = Compiler { schema }.condition(expr, "a condition")?;
    finish(expr, typed)
}

/// Checks an expression whose value goes into a column of a type: it is widened, and a text becomes a date, a time or
/// a moment.
///
/// # Errors
/// As [`compile`], and [`Cause::WrongType`] when it can't go there.
pub fn compile_as(expr: &Expr, schema: &Schema, target: &SqlType) -> Result<Compiled> {
    let typed = Compiler { schema }.typed(expr)?;
    let found = typed.node.sql_type.clone();
    let assigned = assign(typed, target)?.ok_or_else(|| {
        let what = "the value".to_owned();
        SqlError::new(expr.place(), Cause::WrongType { what, expected: target.to_string(), found })
    })?;
    finish(expr, assigned)
}

fn finish(expr: &Expr, typed: Typed) -> Result<Compiled> {
    Ok(Compiled { node: Arc::new(typed.node), text: expr.to_string().into() })
}

/// A checked expression.
struct Typed {
    node: Node,
    place: Place,
    /// NULL by itself, which is of any type.
    untyped: bool,
}

impl Typed {
    fn new(place: Place, operation: Operation, operands: Vec<Typed>, sql_type: SqlType) -> Self {
        let operands: Vec<Node> = operands.into_iter().map(|operand| operand.node).collect();
        let constant = |node: &Node| matches!(node.operation, Operation::Constant(_));
        let foldable = !operands.is_empty() && operands.iter().all(constant);
        let node = Node { operation, operands, sql_type };
        let node = match foldable.then(|| constant_value(&node)) {
            Some(Ok(value)) if value.payload_bytes() <= FOLDED_BYTES_MAX => {
                constant_node(value, node.sql_type)
            }
            // One that fails is left for the rows, where errors are reported; so is one that is large: a short text can
            // ask for many of them.
            Some(Ok(_) | Err(_)) | None => node,
        };
        Self { node, place, untyped: false }
    }

    fn found(&self) -> Option<SqlType> {
        (!self.untyped).then(|| self.node.sql_type.clone())
    }

    fn name(&self) -> String {
        self.found().map_or("NULL".into(), |found| found.to_string())
    }

    fn constant(&self) -> Option<&Value> {
        match &self.node.operation {
            Operation::Constant(value) => Some(value),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self.constant() {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}

fn constant_node(value: Value, sql_type: SqlType) -> Node {
    Node { operation: Operation::Constant(value), operands: Vec::new(), sql_type }
}

/// The same value as another type; the caller knows that it can be.
fn convert(typed: Typed, to: &SqlType) -> Typed {
    if typed.untyped {
        return Typed { node: constant_node(Value::Null, to.clone()), untyped: false, ..typed };
    }
    if typed.node.sql_type == *to {
        return typed;
    }
    Typed::new(typed.place, Operation::Cast, vec![typed], to.clone())
}

/// The value as a column of the type takes it; `None` when it can't.
fn assign(typed: Typed, target: &SqlType) -> Result<Option<Typed>> {
    let Some(found) = typed.found() else { return Ok(Some(convert(typed, target))) };
    if found == SqlType::String && target.is_time() {
        return time_from_text(typed, target).map(Some);
    }
    let numbers = matches!(target, SqlType::Decimal { .. }) && found.is_number();
    // A whole constant that fits INT may be given where INT is asked for, whatever type it was computed in.
    let narrows = *target == SqlType::Int && found == SqlType::Bigint && typed.constant().is_some();
    let nested = found.is_nested() && target.is_nested() && castable(&found, target);
    let fits = found == *target || widens(&found, target) || numbers || narrows || nested;
    Ok(fits.then(|| convert(typed, target)))
}

/// A text as a date, a time or a moment: at once when it is a constant.
fn time_from_text(typed: Typed, to: &SqlType) -> Result<Typed> {
    let Some(text) = typed.text() else { return Ok(convert(typed, to)) };
    let (value, expected) = match to {
        SqlType::Date => (java_time::read_date(text).map(Value::Date), "a date such as 2024-02-29"),
        SqlType::Time => (java_time::read_time(text).map(Value::Time), "a time such as 23:59:59"),
        _ => (
            java_time::read_moment(text).map(Value::Timestamp),
            "a moment such as 2024-02-29T23:59:59",
        ),
    };
    let value = value.ok_or_else(|| literal_error(typed.place, text, expected))?;
    Ok(Typed { node: constant_node(value, to.clone()), place: typed.place, untyped: false })
}

fn literal_error(place: Place, text: &str, expected: impl Into<String>) -> SqlError {
    let text = text.chars().take(60).collect();
    SqlError::new(place, Cause::Literal { text, expected: expected.into() })
}

struct Compiler<'s> {
    schema: &'s Schema,
}

impl Compiler<'_> {
    /// Only hands on: it is the frame that recursion repeats, so it must stay small.
    fn typed(&self, expr: &Expr) -> Result<Typed> {
        let place = expr.place();
        match &expr.kind {
            ExprKind::Literal(literal) => Ok(literal_node(literal, place)),
            ExprKind::Column { source, name } => self.column(source.as_ref(), name, place),
            ExprKind::Not(inner) => self.not(inner, place),
            ExprKind::Negate(inner) => self.negate(inner, place),
            ExprKind::Binary { operator, left, right } => match operator {
                BinaryOperator::And => self.logic(Operation::And, [left, right], "AND", place),
                BinaryOperator::Or => self.logic(Operation::Or, [left, right], "OR", place),
                _ => self.binary(*operator, left, right, place),
            },
            ExprKind::IsNull { expr, negated } => {
                let operation = if *negated { Operation::IsNotNull } else { Operation::IsNull };
                self.test(operation, expr, place)
            }
            ExprKind::Like { expr, pattern, escape, negated } => {
                Ok(negate_if(*negated, self.like(expr, pattern, *escape, place)?))
            }
            ExprKind::In { expr, list, negated } => {
                Ok(negate_if(*negated, self.is_in(expr, list, place)?))
            }
            ExprKind::Between { expr, low, high, negated } => {
                Ok(negate_if(*negated, self.between(expr, [low, high], place)?))
            }
            ExprKind::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref(), place)
            }
            ExprKind::Cast { expr, to } => self.cast(expr, to, place),
            ExprKind::Call { name, arguments, distinct, star } => {
                refuse_aggregate(name, *distinct, *star, place)?;
                self.call(name, arguments, place)
            }
            ExprKind::Field { expr, name } => self.field(expr, name, place),
            ExprKind::Index { expr, index } => self.index(expr, index, place),
            ExprKind::Array(items) => self.array(items, place),
            ExprKind::Map(entries) => self.map(entries, place),
            ExprKind::Struct(fields) => self.structure(fields, place),
            ExprKind::Lambda { .. } => {
                Err(SqlError::new(place, Cause::Unsupported { what: "a lambda" }))
            }
        }
    }

    fn not(&self, inner: &Expr, place: Place) -> Result<Typed> {
        let inner = self.condition(inner, "the operand of NOT")?;
        Ok(Typed::new(place, Operation::Not, vec![inner], SqlType::Boolean))
    }

    fn negate(&self, inner: &Expr, place: Place) -> Result<Typed> {
        let inner = self.typed(inner)?;
        let sql_type = inner.found().filter(SqlType::is_number);
        let sql_type = sql_type.ok_or_else(|| operands_error(place, "-", &[&inner]))?;
        Ok(Typed::new(place, Operation::Negate, vec![inner], sql_type))
    }

    fn test(&self, operation: Operation, expr: &Expr, place: Place) -> Result<Typed> {
        Ok(Typed::new(place, operation, vec![self.typed(expr)?], SqlType::Boolean))
    }

    fn like(
        &self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<char>,
        place: Place,
    ) -> Result<Typed> {
        let sides = [self.typed(expr)?, self.typed(pattern)?];
        if sides.iter().any(|side| side.found().is_some_and(|of| of != SqlType::String)) {
            return Err(operands_error(place, "LIKE", &sides.each_ref()));
        }
        if let Some(pattern) = sides[1].text().filter(|pattern| pattern.len() > LIKE_BYTES_MAX) {
            let expected = format!("a pattern of at most {LIKE_BYTES_MAX} bytes");
            return Err(literal_error(sides[1].place, pattern, expected));
        }
        Ok(Typed::new(place, Operation::Like { escape }, sides.into(), SqlType::Boolean))
    }

    fn between(&self, expr: &Expr, bounds: [&Expr; 2], place: Place) -> Result<Typed> {
        let (tested, bounds) = self.aligned("BETWEEN", expr, &bounds, place)?;
        let operands = std::iter::once(tested).chain(bounds).collect();
        Ok(Typed::new(place, Operation::Between, operands, SqlType::Boolean))
    }

    fn cast(&self, expr: &Expr, to: &TypeName, place: Place) -> Result<Typed> {
        let (inner, to) = (self.typed(expr)?, to.resolve(&|_| None)?);
        match inner.found() {
            Some(from) if !castable(&from, &to) => {
                Err(SqlError::new(place, Cause::Cast { from, to }))
            }
            _ => Ok(Typed { place, ..convert(inner, &to) }),
        }
    }

    fn array(&self, items: &[Expr], place: Place) -> Result<Typed> {
        let items: Vec<&Expr> = items.iter().collect();
        let items = self.of_one_type(&items, place, "ARRAY[...]")?;
        let item = items.first().map_or(SqlType::String, |item| item.node.sql_type.clone());
        Ok(Typed::new(place, Operation::MakeArray, items, SqlType::Array(Box::new(item))))
    }

    fn column(&self, source: Option<&Name>, name: &Name, place: Place) -> Result<Typed> {
        let found = self.schema.find(source.map(Name::as_str), name.as_str());
        let column = match found {
            Ok(column) => column,
            // An older name of the key.
            Err(LookupError::Unknown { .. })
                if name.as_str() == "ROWKEY" && self.schema.key().len() == 1 =>
            {
                ColumnRef::Key(0)
            }
            Err(LookupError::Unknown { name, near }) => {
                return Err(SqlError::new(place, Cause::UnknownColumn { name, near }));
            }
            Err(LookupError::Ambiguous { name, sources }) => {
                let (name, sources) = (quoted(&name).to_string(), sources.join(", "));
                return Err(SqlError::new(place, Cause::AmbiguousColumn { name, sources }));
            }
        };
        let unknown = || Cause::UnknownColumn { name: name.to_string(), near: None };
        let sql_type = self.schema.type_of(column);
        let sql_type = sql_type.ok_or_else(|| SqlError::new(place, unknown()))?;
        Ok(Typed::new(place, Operation::Column(column), Vec::new(), sql_type))
    }

    fn condition(&self, expr: &Expr, what: &str) -> Result<Typed> {
        let typed = self.typed(expr)?;
        match typed.found() {
            None | Some(SqlType::Boolean) => Ok(convert(typed, &SqlType::Boolean)),
            Some(found) => {
                let (what, expected) = (what.to_owned(), SqlType::Boolean.to_string());
                Err(SqlError::new(typed.place, Cause::WrongType { what, expected, found }))
            }
        }
    }

    fn logic(
        &self,
        operation: Operation,
        sides: [&Expr; 2],
        sign: &str,
        place: Place,
    ) -> Result<Typed> {
        let side = |side| self.condition(side, &format!("an operand of {sign}"));
        let sides = sides.map(side);
        let sides = sides.into_iter().collect::<Result<_>>()?;
        Ok(Typed::new(place, operation, sides, SqlType::Boolean))
    }

    fn binary(
        &self,
        operator: BinaryOperator,
        left: &Expr,
        right: &Expr,
        place: Place,
    ) -> Result<Typed> {
        let (left_side, right_side) = (self.typed(left)?, self.typed(right)?);
        if operator.is_arithmetic() {
            return calculation(operator, left_side, right_side, place);
        }
        let left_side = moment_from_text(left_side, right)?;
        let right_side = moment_from_text(right_side, left)?;
        let [left, right] = comparable(operator.sign(), left_side, right_side, place)?;
        Ok(Typed::new(place, Operation::Compare(operator), vec![left, right], SqlType::Boolean))
    }

    /// An expression and those it is compared with, brought to one type.
    fn aligned(
        &self,
        operator: &str,
        tested: &Expr,
        others: &[&Expr],
        place: Place,
    ) -> Result<(Typed, Vec<Typed>)> {
        let mut left = self.typed(tested)?;
        let mut aligned = Vec::with_capacity(others.len());
        for other in others {
            let right = moment_from_text(self.typed(other)?, tested)?;
            let [wider, right] = comparable(operator, left, right, place)?;
            left = wider;
            aligned.push(right);
        }
        // The type may have widened on the way.
        let wide = left.node.sql_type.clone();
        Ok((left, aligned.into_iter().map(|typed| convert(typed, &wide)).collect()))
    }

    fn is_in(&self, expr: &Expr, list: &[Expr], place: Place) -> Result<Typed> {
        let (tested, items) = self.aligned("IN", expr, &list.iter().collect::<Vec<_>>(), place)?;
        let constants: Option<Vec<Value>> =
            items.iter().map(|item| item.constant().cloned()).collect();
        let (operation, operands) = match constants {
            Some(constants) if constants.len() > COMPARED_MAX => {
                let has_null = constants.iter().any(Value::is_null);
                let values: HashSet<Value> = constants.into_iter().collect();
                (Operation::InSet { values, has_null }, vec![tested])
            }
            _ => (Operation::In, std::iter::once(tested).chain(items).collect()),
        };
        Ok(Typed::new(place, operation, operands, SqlType::Boolean))
    }

    fn case(
        &self,
        subject: Option<&Expr>,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
        place: Place,
    ) -> Result<Typed> {
        let whens: Vec<&Expr> = branches.iter().map(|(when, _)| when).collect();
        let (subject, whens) = match subject {
            Some(subject) => {
                let (subject, whens) = self.aligned("CASE", subject, &whens, place)?;
                (Some(subject), whens)
            }
            None => {
                let whens = whens.into_iter().map(|when| self.condition(when, "WHEN"));
                (None, whens.collect::<Result<_>>()?)
            }
        };
        let missing = Expr::new(ExprKind::Literal(Literal::Null), place);
        let values = branches.iter().map(|(_, then)| then);
        let values: Vec<&Expr> = values.chain([otherwise.unwrap_or(&missing)]).collect();
        let mut values = self.of_one_type(&values, place, "CASE")?;
        let sql_type = values[0].node.sql_type.clone();
        let last = values.pop();
        let pairs = whens.into_iter().zip(values).flat_map(|(when, then)| [when, then]);
        let operation = Operation::Case { has_subject: subject.is_some() };
        let operands = subject.into_iter().chain(pairs).chain(last).collect();
        Ok(Typed::new(place, operation, operands, sql_type))
    }

    /// Expressions that are brought to the one type they have in common.
    fn of_one_type(&self, exprs: &[&Expr], place: Place, operator: &str) -> Result<Vec<Typed>> {
        let typed = exprs.iter().map(|expr| self.typed(expr)).collect::<Result<Vec<_>>>()?;
        let mut one: Option<SqlType> = None;
        for found in typed.iter().filter_map(Typed::found) {
            one = Some(match one {
                None => found,
                Some(one) => common(&one, &found).ok_or_else(|| {
                    operands_error(place, operator, &typed.iter().collect::<Vec<_>>())
                })?,
            });
        }
        let one = one.unwrap_or(SqlType::String);
        Ok(typed.into_iter().map(|typed| convert(typed, &one)).collect())
    }

    fn field(&self, expr: &Expr, name: &Name, place: Place) -> Result<Typed> {
        let inner = self.typed(expr)?;
        let found = inner.node.sql_type.clone();
        match found.field(name.as_str()) {
            Some((index, field)) => {
                let sql_type = field.sql_type.clone();
                Ok(Typed::new(place, Operation::Field(index), vec![inner], sql_type))
            }
            None if matches!(found, SqlType::Struct(_)) => {
                let name = name.to_string();
                Err(SqlError::new(place, Cause::UnknownField { name, found }))
            }
            None => {
                let what = "what -> is used on".to_owned();
                let expected = "a STRUCT".to_owned();
                Err(SqlError::new(place, Cause::WrongType { what, expected, found }))
            }
        }
    }

    fn index(&self, expr: &Expr, index: &Expr, place: Place) -> Result<Typed> {
        let (inner, index) = (self.typed(expr)?, self.typed(index)?);
        let (key, sql_type) = match &inner.node.sql_type {
            SqlType::Array(item) => (SqlType::Bigint, (**item).clone()),
            SqlType::Map(key, value) => ((**key).clone(), (**value).clone()),
            found => {
                let (what, expected) = ("what [ ] is used on".into(), "an ARRAY or a MAP".into());
                let cause = Cause::WrongType { what, expected, found: found.clone() };
                return Err(SqlError::new(place, cause));
            }
        };
        match index.found() {
            Some(found) if found != key && !widens(&found, &key) => {
                let (what, expected) = ("what stands in [ ]".into(), key.to_string());
                Err(SqlError::new(index.place, Cause::WrongType { what, expected, found }))
            }
            _ => {
                let operands = vec![inner, convert(index, &key)];
                Ok(Typed::new(place, Operation::Index, operands, sql_type))
            }
        }
    }

    fn map(&self, entries: &[(Expr, Expr)], place: Place) -> Result<Typed> {
        let keys: Vec<&Expr> = entries.iter().map(|(key, _)| key).collect();
        let values: Vec<&Expr> = entries.iter().map(|(_, value)| value).collect();
        let keys = self.of_one_type(&keys, place, "MAP(...)")?;
        let values = self.of_one_type(&values, place, "MAP(...)")?;
        let of = |side: &[Typed]| side.first().map_or(SqlType::String, |t| t.node.sql_type.clone());
        let sql_type = SqlType::Map(Box::new(of(&keys)), Box::new(of(&values)));
        let operands = keys.into_iter().zip(values).flat_map(|(key, value)| [key, value]);
        Ok(Typed::new(place, Operation::MakeMap, operands.collect(), sql_type))
    }

    fn structure(&self, fields: &[(Name, Expr)], place: Place) -> Result<Typed> {
        let mut types: Vec<StructField> = Vec::with_capacity(fields.len());
        let mut operands = Vec::with_capacity(fields.len());
        for (name, expr) in fields {
            if types.iter().any(|field| field.name == name.as_str()) {
                let what = format!("the field {name}");
                return Err(SqlError::new(expr.place(), Cause::Twice { what }));
            }
            let value = self.typed(expr)?;
            let sql_type = value.node.sql_type.clone();
            types.push(StructField { name: name.as_str().to_owned(), sql_type });
            operands.push(value);
        }
        Ok(Typed::new(place, Operation::MakeStruct, operands, SqlType::Struct(types)))
    }

    fn call(&self, name: &str, arguments: &[Expr], place: Place) -> Result<Typed> {
        let Some(function) = table::find(name) else {
            let near = nearest(name, table::all().map(|f| f.name)).map(str::to_owned);
            return Err(SqlError::new(place, Cause::UnknownFunction { name: name.into(), near }));
        };
        let mut typed = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.iter().enumerate() {
            typed.push(match unit_argument(function, index, argument) {
                Some(unit) => {
                    let node = constant_node(Value::String(unit), SqlType::String);
                    Typed { node, place: argument.place(), untyped: false }
                }
                None => self.typed(argument)?,
            });
        }
        let found: Vec<Option<SqlType>> = typed.iter().map(Typed::found).collect();
        let Some((signature, takes, gives)) = function.choose(&found) else {
            let found = typed.iter().map(Typed::name).collect::<Vec<_>>().join(", ");
            let expected = function.calls().join(" or ");
            let cause = Cause::Arguments { name: name.into(), found, expected };
            return Err(SqlError::new(place, cause));
        };
        let operands: Vec<Typed> =
            typed.into_iter().zip(&takes).map(|(typed, take)| convert(typed, take)).collect();
        let operation = call_operation(function, &signature.body, &operands, place)?;
        if operands.is_empty() {
            // Without arguments a function is a constant.
            let node = Node { operation, operands: Vec::new(), sql_type: gives.clone() };
            let value = constant_value(&node).unwrap_or(Value::Null);
            return Ok(Typed { node: constant_node(value, gives), place, untyped: false });
        }
        if GROWING.contains(&function.name) {
            let operands = operands.into_iter().map(|operand| operand.node).collect();
            let node = Node { operation, operands, sql_type: gives };
            return Ok(Typed { node, place, untyped: false });
        }
        Ok(Typed::new(place, operation, operands, gives))
    }
}

/// What computes a call; what is constant in it is prepared.
fn call_operation(
    function: &Function,
    body: &Body,
    operands: &[Typed],
    place: Place,
) -> Result<Operation> {
    Ok(match body {
        Body::Text(compute) => Operation::TextFunction(*compute),
        Body::Row(compute) if function.sees_nulls => Operation::Function(Arc::new(*compute)),
        Body::Row(compute) => Operation::StrictFunction(Arc::new(*compute)),
        Body::Prepared(prepare) => {
            let constants: Vec<Option<Value>> =
                operands.iter().map(|operand| operand.constant().cloned()).collect();
            let prepared = prepare(&constants).map_err(|cause| match cause {
                RowCause::Argument { value, expected } => literal_error(place, &value, expected),
                other => literal_error(place, function.name, other.to_string()),
            })?;
            Operation::StrictFunction(prepared)
        }
    })
}

fn refuse_aggregate(name: &str, distinct: bool, star: bool, place: Place) -> Result<()> {
    if table::is_aggregate(name) {
        return Err(SqlError::new(place, Cause::Aggregate { name: name.to_owned() }));
    }
    let what = match (distinct, star) {
        (false, false) => return Ok(()),
        (true, _) => "DISTINCT in a call",
        (_, true) => "* as an argument",
    };
    Err(SqlError::new(place, Cause::Unsupported { what }))
}

/// The unit in `DATEADD(DAYS, ...)`, which is written like a column.
fn unit_argument(function: &Function, index: usize, argument: &Expr) -> Option<String> {
    let takes_unit = function.signatures.iter().any(|s| s.takes.get(index) == Some(&Type::Unit));
    match &argument.kind {
        ExprKind::Column { source: None, name } if takes_unit => {
            SpanUnit::of_name(name.as_str()).map(|unit| unit.to_string())
        }
        _ => None,
    }
}

fn literal_node(literal: &Literal, place: Place) -> Typed {
    let (value, sql_type) = match literal {
        Literal::Null => (Value::Null, SqlType::String),
        Literal::Boolean(value) => (Value::Boolean(*value), SqlType::Boolean),
        Literal::Integer(value) => match i32::try_from(*value) {
            Ok(value) => (Value::Int(value), SqlType::Int),
            Err(_) => (Value::Bigint(*value), SqlType::Bigint),
        },
        Literal::Decimal(value) => {
            let (precision, scale) = (value.precision(), value.scale);
            (Value::Decimal(*value), SqlType::Decimal { precision, scale })
        }
        Literal::Double(value) => (Value::Double(*value), SqlType::Double),
        Literal::String(value) => (Value::String(value.clone()), SqlType::String),
    };
    let untyped = *literal == Literal::Null;
    Typed { node: constant_node(value, sql_type), place, untyped }
}

fn negate_if(negated: bool, typed: Typed) -> Typed {
    match negated {
        true => Typed::new(typed.place, Operation::Not, vec![typed], SqlType::Boolean),
        false => typed,
    }
}

fn operands_error(place: Place, operator: &str, operands: &[&Typed]) -> SqlError {
    let mut names: Vec<String> = operands.iter().map(|operand| operand.name()).collect();
    names.dedup();
    let (operator, found) = (operator.to_owned(), names.join(" and "));
    SqlError::new(place, Cause::Operands { operator, found })
}

fn calculation(operator: BinaryOperator, left: Typed, right: Typed, place: Place) -> Result<Typed> {
    let refused =
        |left: &Typed, right: &Typed| operands_error(place, operator.sign(), &[left, right]);
    // NULL is of the other side's type.
    let (left, right) = match (left.found(), right.found()) {
        (None, Some(other)) => (convert(left, &other), right),
        (Some(other), None) => (left, convert(right, &other)),
        _ => (left, right),
    };
    let (Some(left_type), Some(right_type)) = (left.found(), right.found()) else {
        return Err(refused(&left, &right));
    };
    if operator == BinaryOperator::Add && left_type == SqlType::String && right_type == left_type {
        return Ok(Typed::new(place, Operation::Concatenate, vec![left, right], SqlType::String));
    }
    let Some(sql_type) = arithmetic(operator, &left_type, &right_type) else {
        return Err(refused(&left, &right));
    };
    // Exact operands keep their own digits; the result's type says how many come out.
    let operand = |typed: Typed, of: &SqlType| match (&sql_type, as_decimal(of)) {
        (SqlType::Decimal { .. }, Some(exact)) => convert(typed, &exact),
        _ => convert(typed, &sql_type),
    };
    let operands = vec![operand(left, &left_type), operand(right, &right_type)];
    Ok(Typed::new(place, Operation::Arithmetic(operator), operands, sql_type))
}

/// A text that is compared with ROWTIME, WINDOWSTART or WINDOWEND: the milliseconds of that moment.
fn moment_from_text(typed: Typed, other: &Expr) -> Result<Typed> {
    let is_moment = matches!(
        &other.kind,
        ExprKind::Column { name, .. } if MOMENTS.contains(&name.as_str())
    );
    let Some(text) = typed.text().filter(|_| is_moment) else { return Ok(typed) };
    let ms = java_time::read_moment(text).map(Value::Bigint);
    let expected = "a moment such as 2024-02-29T23:59:59";
    let ms = ms.ok_or_else(|| literal_error(typed.place, text, expected))?;
    Ok(Typed { node: constant_node(ms, SqlType::Bigint), place: typed.place, untyped: false })
}

/// Two sides brought to the type in which they are compared.
fn comparable(operator: &str, left: Typed, right: Typed, place: Place) -> Result<[Typed; 2]> {
    let (left_type, right_type) = match (left.found(), right.found()) {
        (Some(left_type), Some(right_type)) => (left_type, right_type),
        (None, Some(other)) => return Ok([convert(left, &other), right]),
        (Some(other), None) => return Ok([left, convert(right, &other)]),
        (None, None) => {
            return Ok([convert(left, &SqlType::String), convert(right, &SqlType::String)]);
        }
    };
    let is_whole = |of: &SqlType| matches!(of, SqlType::Int | SqlType::Bigint);
    let one = match (&left_type, &right_type) {
        (SqlType::String, time) | (time, SqlType::String) if time.is_time() => Some(time.clone()),
        (SqlType::Timestamp, other) | (other, SqlType::Timestamp)
            if is_whole(other) || *other == SqlType::Date =>
        {
            Some(SqlType::Timestamp)
        }
        _ => common(&left_type, &right_type),
    };
    let Some(one) = one else { return Err(operands_error(place, operator, &[&left, &right])) };
    let bring = |typed: Typed| match typed.node.sql_type {
        SqlType::String if one.is_time() => time_from_text(typed, &one),
        _ => Ok(convert(typed, &one)),
    };
    Ok([bring(left)?, bring(right)?])
}
