//! Names bound, types checked: an expression as written becomes one that can be evaluated.
//!
//! A wrong name or type is an error here, with its place; what is left are errors of single rows. This file walks the
//! expression; what the types of an operation may be is for the files of its folder.

mod calls;
mod nested;
mod operators;
mod typed;

use std::collections::HashSet;
use std::sync::Arc;

use self::operators::{calculation, comparable, moment_from_text, negate_if, of_one_type};
use self::typed::{Typed, assign, convert, type_error};
use crate::ast::{BinaryOperator, Expr, ExprKind, Literal, Name, TypeName};
use crate::cast::castable;
use crate::error::{Cause, Place, Result, SqlError};
use crate::evaluate::{Compiled, Operation};
use crate::schema::{ColumnRef, LookupError, Schema};
use crate::value::{SqlType, Value};
use crate::words::quoted;

/// Lists of constants after IN that are longer than this are looked up in a set.
const COMPARED_MAX: usize = 16;

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
    let assigned = assign(typed, target)?
        .ok_or_else(|| type_error(expr.place(), "the value", target, found))?;
    finish(expr, assigned)
}

fn finish(expr: &Expr, typed: Typed) -> Result<Compiled> {
    Ok(Compiled { node: Arc::new(typed.node), text: expr.to_string().into() })
}

struct Compiler<'s> {
    schema: &'s Schema,
}

impl Compiler<'_> {
    /// Only hands on: it is the frame that recursion repeats, so it must stay small.
    fn typed(&self, expr: &Expr) -> Result<Typed> {
        let place = expr.place();
        match &expr.kind {
            ExprKind::Literal(literal) => Ok(Typed::literal(literal, place)),
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
                calls::refuse_aggregate(name, *distinct, *star, place)?;
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
        operators::negated(self.typed(inner)?, place)
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
        operators::like([self.typed(expr)?, self.typed(pattern)?], escape, place)
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
            _ => {
                let mut cast = convert(inner, &to);
                cast.place = place;
                Ok(cast)
            }
        }
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
            Some(found) => Err(type_error(typed.place, what, SqlType::Boolean, found)),
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
        let values = values.chain([otherwise.unwrap_or(&missing)]);
        let mut values = self.of_one_type(values, place, "CASE")?;
        let sql_type = values[0].node.sql_type.clone();
        let last = values.pop();
        let pairs = whens.into_iter().zip(values).flat_map(|(when, then)| [when, then]);
        let operation = Operation::Case { has_subject: subject.is_some() };
        let operands = subject.into_iter().chain(pairs).chain(last).collect();
        Ok(Typed::new(place, operation, operands, sql_type))
    }

    /// Expressions that are brought to the one type they have in common.
    fn of_one_type<'e>(
        &self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        place: Place,
        operator: &str,
    ) -> Result<Vec<Typed>> {
        let typed = exprs.into_iter().map(|expr| self.typed(expr));
        of_one_type(typed.collect::<Result<_>>()?, place, operator)
    }

    fn call(&self, name: &str, arguments: &[Expr], place: Place) -> Result<Typed> {
        let function = calls::function(name, place)?;
        let mut typed = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.iter().enumerate() {
            typed.push(match calls::unit(function, index, argument) {
                Some(unit) => unit,
                None => self.typed(argument)?,
            });
        }
        calls::call(function, typed, place)
    }

    fn field(&self, expr: &Expr, name: &Name, place: Place) -> Result<Typed> {
        nested::field(self.typed(expr)?, name, place)
    }

    fn index(&self, expr: &Expr, index: &Expr, place: Place) -> Result<Typed> {
        nested::index(self.typed(expr)?, self.typed(index)?, place)
    }

    fn array(&self, items: &[Expr], place: Place) -> Result<Typed> {
        Ok(nested::array(self.of_one_type(items, place, "ARRAY[...]")?, place))
    }

    fn map(&self, entries: &[(Expr, Expr)], place: Place) -> Result<Typed> {
        let keys = self.of_one_type(entries.iter().map(|(key, _)| key), place, "MAP(...)")?;
        let values = self.of_one_type(entries.iter().map(|(_, value)| value), place, "MAP(...)")?;
        Ok(nested::map(keys, values, place))
    }

    fn structure(&self, fields: &[(Name, Expr)], place: Place) -> Result<Typed> {
        let mut typed: Vec<(&Name, Typed)> = Vec::with_capacity(fields.len());
        for (name, expr) in fields {
            if typed.iter().any(|(other, _)| other.as_str() == name.as_str()) {
                let what = format!("the field {name}");
                return Err(SqlError::new(expr.place(), Cause::Twice { what }));
            }
            typed.push((name, self.typed(expr)?));
        }
        Ok(nested::structure(typed, place))
    }
}
