//! Operations on whole columns, with Arrow's kernels where there are some.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_arith::boolean::{and_kleene, is_null, or_kleene};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, StringArray, UInt32Array};
use arrow_ord::cmp;
use arrow_select::{filter::prep_null_mask_filter, nullif::nullif, take::take};

use super::arithmetic::compare_values;
use super::error::Result;
use super::held::Held;
use crate::ast::BinaryOperator;
use crate::error::RowCause;
use crate::value::Value;

pub(super) fn null_is_false(mask: &BooleanArray) -> BooleanArray {
    if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() }
}

pub(super) fn has_zero(divisor: &Held) -> bool {
    let floats = divisor.array().as_primitive_opt::<arrow_array::types::Float64Type>();
    floats.is_some_and(|floats| floats.iter().flatten().any(|float| float == 0.0))
}

pub(super) fn compare(
    operator: BinaryOperator,
    left: &Held,
    right: &Held,
    rows: usize,
) -> Result<BooleanArray> {
    use BinaryOperator as Op;
    if left.array().data_type().is_nested() {
        let of_row = |row| compare_values(operator, &left.value(row), &right.value(row));
        return Ok((0..rows).map(of_row).collect());
    }
    let compared = match operator {
        Op::Equal => cmp::eq(left, right),
        Op::NotEqual => cmp::neq(left, right),
        Op::Less => cmp::lt(left, right),
        Op::LessOrEqual => cmp::lt_eq(left, right),
        Op::Greater => cmp::gt(left, right),
        Op::GreaterOrEqual => cmp::gt_eq(left, right),
        Op::Distinct => cmp::distinct(left, right),
        _ => cmp::not_distinct(left, right),
    }?;
    // Two constants among columns: one answer for all rows.
    match left.is_same() && right.is_same() {
        true => Held::Same(Arc::new(compared)).booleans(rows),
        false => Ok(compared),
    }
}

/// The pattern as the kernel reads it: there a backslash takes the meaning off the next character, always.
pub(super) fn kernel_pattern(pattern: &str, escape: Option<char>) -> String {
    let mut written = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            let plain = characters.next().unwrap_or(character);
            if matches!(plain, '%' | '_' | '\\') {
                written.push('\\');
            }
            written.push(plain);
        } else if character == '\\' {
            written.push_str("\\\\");
        } else {
            written.push(character);
        }
    }
    written
}

pub(super) fn is_in(held: &[Held], rows: usize) -> Result<BooleanArray> {
    let mut found: Option<BooleanArray> = None;
    for item in &held[1..] {
        let equal = compare(BinaryOperator::Equal, &held[0], item, rows)?;
        found = Some(match found {
            Some(found) => or_kleene(&found, &equal)?,
            None => equal,
        });
    }
    Ok(found.unwrap_or_else(|| BooleanArray::from(vec![false; rows])))
}

/// The operand among constants of its type; unknown where it is null, or may be the null among them.
pub(super) fn is_in_set(
    held: &Held,
    values: &HashSet<Value>,
    has_null: bool,
    rows: usize,
) -> BooleanArray {
    let known = |row| match held.value(row) {
        Value::Null => None,
        value if values.contains(&value) => Some(true),
        _ => (!has_null).then_some(false),
    };
    (0..rows).map(known).collect()
}

/// The first operand not below the second and not above the third.
pub(super) fn is_between(held: &[Held], rows: usize) -> Result<BooleanArray> {
    let low = compare(BinaryOperator::GreaterOrEqual, &held[0], &held[1], rows)?;
    let high = compare(BinaryOperator::LessOrEqual, &held[0], &held[2], rows)?;
    Ok(and_kleene(&low, &high)?)
}

/// A function of one text over a column of texts.
pub(super) fn each_text(array: &ArrayRef, function: fn(&str) -> String) -> StringArray {
    array.as_string::<i32>().iter().map(|text| text.map(function)).collect()
}

pub(super) fn make_map(row: &[Value]) -> std::result::Result<Value, RowCause> {
    let entries = row.chunks_exact(2).map(|entry| (entry[0].clone(), entry[1].clone()));
    let entries = entries.filter(|(key, _)| !key.is_null());
    Ok(Value::map(entries))
}

/// A field of a struct: null where the struct is.
pub(super) fn field(array: &ArrayRef, index: usize) -> Result<ArrayRef> {
    let fields = array.as_struct();
    let column = fields.column(index);
    if fields.null_count() == 0 {
        return Ok(Arc::clone(column));
    }
    Ok(nullif(column, &is_null(array)?)?)
}

pub(super) fn index(array: &ArrayRef, at: &Held, rows: usize) -> Result<ArrayRef> {
    // Positions in the column of all items; null where there is no such item.
    if let Some(list) = array.as_list_opt::<i32>() {
        let place = |row: usize| {
            let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
            let length = i64::from(end - start);
            let position = match at.value(row) {
                _ if list.is_null(row) => return None,
                Value::Int(position) => i64::from(position),
                Value::Bigint(position) => position,
                _ => return None,
            };
            let from_start = if position < 0 { length + position } else { position - 1 };
            (0..length).contains(&from_start).then(|| start as u32 + from_start as u32)
        };
        let positions: UInt32Array = (0..rows).map(place).collect();
        return Ok(take(list.values(), &positions, None)?);
    }
    let map = array.as_map();
    let place = |row: usize| {
        let (start, end) =
            (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
        let key = at.value(row);
        if map.is_null(row) {
            return None;
        }
        (start..end).find(|at| Value::read(map.keys(), *at) == key).map(|at| at as u32)
    };
    let positions: UInt32Array = (0..rows).map(place).collect();
    Ok(take(map.values(), &positions, None)?)
}
