//! Random expressions over random columns, against an evaluator that walks the tree for each row alone.
//!
//! The evaluator is written from the rules of SQL, not from the code under test: unknown is `None`, an error makes
//! null, INT and BIGINT overflow.

use std::sync::Arc;

use proptest::prelude::*;
use thalweg_sql::ast::{BinaryOperator as Op, Expr, ExprKind, Literal, Name};
use thalweg_sql::compile::compile;
use thalweg_sql::error::Place;
use thalweg_sql::{Change, Column, Row, RowsBuilder, Schema, SqlType, Value};

/// Two columns of each kind: A, B BIGINT; P, Q BOOLEAN.
fn schema() -> Arc<Schema> {
    let bigint = |name| Column::new(name, SqlType::Bigint);
    let boolean = |name| Column::new(name, SqlType::Boolean);
    let value = vec![bigint("A"), bigint("B"), boolean("P"), boolean("Q")];
    Arc::new(Schema::new(vec![], value).unwrap())
}

fn any_bigint() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        6 => (-3_i64..4).prop_map(Value::Bigint),
        1 => Just(Value::Bigint(i64::MAX)),
        1 => Just(Value::Bigint(i64::MIN)),
    ]
}

fn any_boolean() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(Value::Boolean(true)), Just(Value::Boolean(false))]
}

fn any_row() -> impl Strategy<Value = Vec<Value>> {
    (any_bigint(), any_bigint(), any_boolean(), any_boolean())
        .prop_map(|(a, b, p, q)| vec![a, b, p, q])
}

fn make(kind: ExprKind) -> Expr {
    Expr::new(kind, Place::START)
}

fn column(name: &str) -> Expr {
    make(ExprKind::Column { source: None, name: Name(name.into()) })
}

fn binary(operator: Op, left: Expr, right: Expr) -> Expr {
    make(ExprKind::Binary { operator, left: left.into(), right: right.into() })
}

fn any_number() -> BoxedStrategy<Expr> {
    let large = i64::from(i32::MAX) + 1;
    let leaf = prop_oneof![
        Just(column("A")),
        Just(column("B")),
        // BIGINT constants, so that no part is computed as INT.
        (large..large + 3).prop_map(|n| make(ExprKind::Literal(Literal::Integer(n)))),
    ];
    leaf.prop_recursive(3, 10, 2, |inner| {
        let operators = vec![Op::Add, Op::Subtract, Op::Multiply, Op::Divide, Op::Modulo];
        prop_oneof![
            (prop::sample::select(operators), inner.clone(), inner.clone())
                .prop_map(|(operator, left, right)| binary(operator, left, right)),
            inner.clone().prop_map(|inner| make(ExprKind::Negate(inner.into()))),
            (Just(column("P")), inner.clone(), inner).prop_map(|(when, then, otherwise)| {
                make(ExprKind::Case {
                    operand: None,
                    branches: vec![(when, then)],
                    otherwise: Some(otherwise.into()),
                })
            }),
        ]
    })
    .boxed()
}

fn any_condition() -> BoxedStrategy<Expr> {
    let comparisons = vec![
        Op::Equal,
        Op::NotEqual,
        Op::Less,
        Op::LessOrEqual,
        Op::Greater,
        Op::GreaterOrEqual,
        Op::Distinct,
        Op::NotDistinct,
    ];
    let leaf = prop_oneof![
        Just(column("P")),
        Just(column("Q")),
        (prop::sample::select(comparisons), any_number(), any_number())
            .prop_map(|(operator, left, right)| binary(operator, left, right)),
        (any_number(), prop::collection::vec(any_number(), 1..4), any::<bool>()).prop_map(
            |(expr, list, negated)| make(ExprKind::In { expr: expr.into(), list, negated })
        ),
        (any_number(), any_number(), any_number(), any::<bool>()).prop_map(
            |(expr, low, high, negated)| make(ExprKind::Between {
                expr: expr.into(),
                low: low.into(),
                high: high.into(),
                negated,
            })
        ),
        (any_number(), any::<bool>())
            .prop_map(|(expr, negated)| make(ExprKind::IsNull { expr: expr.into(), negated })),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| make(ExprKind::Not(inner.into()))),
            (prop::sample::select(vec![Op::And, Op::Or]), inner.clone(), inner)
                .prop_map(|(operator, left, right)| binary(operator, left, right)),
        ]
    })
    .boxed()
}

fn number(expr: &Expr, row: &[Value]) -> Option<i64> {
    match &expr.kind {
        ExprKind::Literal(Literal::Integer(value)) => Some(*value),
        ExprKind::Column { name, .. } => match &row[usize::from(name.as_str() == "B")] {
            Value::Bigint(value) => Some(*value),
            _ => None,
        },
        ExprKind::Negate(inner) => number(inner, row)?.checked_neg(),
        ExprKind::Case { branches, otherwise, .. } => {
            let (when, then) = &branches[0];
            let taken = condition(when, row) == Some(true);
            number(if taken { then } else { otherwise.as_ref().unwrap() }, row)
        }
        ExprKind::Binary { operator, left, right } => {
            let (left, right) = (number(left, row)?, number(right, row)?);
            match operator {
                Op::Add => left.checked_add(right),
                Op::Subtract => left.checked_sub(right),
                Op::Multiply => left.checked_mul(right),
                Op::Divide => left.checked_div(right),
                _ if right == -1 => Some(0),
                _ => left.checked_rem(right),
            }
        }
        other => panic!("{other:?} is no number"),
    }
}

fn condition(expr: &Expr, row: &[Value]) -> Option<bool> {
    let flip = |value: Option<bool>, negated: bool| value.map(|value| value != negated);
    match &expr.kind {
        ExprKind::Column { name, .. } => match &row[2 + usize::from(name.as_str() == "Q")] {
            Value::Boolean(value) => Some(*value),
            _ => None,
        },
        ExprKind::Not(inner) => condition(inner, row).map(|value| !value),
        ExprKind::IsNull { expr, negated } => Some(number(expr, row).is_none() != *negated),
        ExprKind::In { expr, list, negated } => {
            let tested = number(expr, row);
            let equal = |item: &Expr| Some(tested? == number(item, row)?);
            flip(list.iter().map(equal).fold(Some(false), or), *negated)
        }
        ExprKind::Between { expr, low, high, negated } => {
            let tested = number(expr, row);
            let low = number(low, row).and_then(|low| Some(tested? >= low));
            let high = number(high, row).and_then(|high| Some(tested? <= high));
            flip(and(low, high), *negated)
        }
        ExprKind::Binary { operator: Op::And, left, right } => {
            and(condition(left, row), condition(right, row))
        }
        ExprKind::Binary { operator: Op::Or, left, right } => {
            or(condition(left, row), condition(right, row))
        }
        ExprKind::Binary { operator, left, right } => {
            let (left, right) = (number(left, row), number(right, row));
            match operator {
                Op::Distinct => Some(left != right),
                Op::NotDistinct => Some(left == right),
                _ => {
                    let (left, right) = (left?, right?);
                    Some(match operator {
                        Op::Equal => left == right,
                        Op::NotEqual => left != right,
                        Op::Less => left < right,
                        Op::LessOrEqual => left <= right,
                        Op::Greater => left > right,
                        _ => left >= right,
                    })
                }
            }
        }
        other => panic!("{other:?} is no condition"),
    }
}

fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    and(left.map(|value| !value), right.map(|value| !value)).map(|value| !value)
}

/// All values of an expression, and the rows with errors.
fn evaluate(expr: &Expr, rows: &[Vec<Value>]) -> (Vec<Value>, Vec<usize>) {
    let mut builder = RowsBuilder::new(schema(), rows.len());
    for value in rows {
        let (key, value) = (vec![], value.clone());
        let row =
            Row { key, value, time: 0, partition: None, offset: None, change: Change::Insert };
        builder.push(&row).unwrap();
    }
    let compiled = compile(expr, &schema()).unwrap();
    let evaluated = compiled.evaluate(&builder.finish()).unwrap();
    let values = (0..rows.len()).map(|row| Value::read(&evaluated.column, row)).collect();
    (values, evaluated.errors.iter().map(|error| error.row).collect())
}

proptest! {
    #[test]
    fn numbers_are_those_of_the_oracle(
        expr in any_number(),
        rows in prop::collection::vec(any_row(), 0..12),
    ) {
        let (values, errors) = evaluate(&expr, &rows);
        for (index, row) in rows.iter().enumerate() {
            let expected = number(&expr, row).map_or(Value::Null, Value::Bigint);
            prop_assert_eq!(&values[index], &expected, "{} for {:?}", expr, row);
            if expected.is_null() && row[..2].iter().all(|value| !value.is_null()) {
                prop_assert!(errors.contains(&index), "{} says nothing of {:?}", expr, row);
            }
        }
    }

    #[test]
    fn conditions_are_those_of_the_oracle(
        expr in any_condition(),
        rows in prop::collection::vec(any_row(), 0..12),
    ) {
        let (values, _) = evaluate(&expr, &rows);
        for (index, row) in rows.iter().enumerate() {
            let expected = condition(&expr, row).map_or(Value::Null, Value::Boolean);
            prop_assert_eq!(&values[index], &expected, "{} for {:?}", expr, row);
        }
    }
}
