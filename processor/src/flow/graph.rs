//! A plan made into operators that run: rows in at the leaf, rows out at the root.

use sql::Rows;

use crate::frontier::Frontier;
use crate::operators::filter::Filter;
use crate::operators::operator::{Operator, OperatorError, Output};
use crate::operators::project::Project;
use crate::plan::logical::Plan;

/// The operators of one task, in the order in which rows go through them.
#[derive(Debug)]
pub struct Graph {
    steps: Vec<Box<dyn Operator>>,
}

impl Graph {
    /// Fresh operators for a plan.
    pub fn new(plan: &Plan) -> Self {
        let mut steps = Vec::new();
        add_steps(plan, &mut steps);
        Self { steps }
    }

    /// Sends rows through, then tells how far time has come. What arrives at the end is added to `output`.
    ///
    /// # Errors
    /// When the rows do not fit the plan.
    pub fn run(
        &mut self,
        rows: Rows,
        frontier: Frontier,
        output: &mut Output,
    ) -> Result<(), OperatorError> {
        let mut batches = if rows.is_empty() { vec![] } else { vec![rows] };
        for step in &mut self.steps {
            let mut given = Output::default();
            for batch in batches {
                step.take(batch, &mut given)?;
            }
            step.advance(frontier, &mut given)?;
            batches = given.rows;
            output.faults.append(&mut given.faults);
        }
        output.rows.append(&mut batches);
        Ok(())
    }
}

fn add_steps(plan: &Plan, steps: &mut Vec<Box<dyn Operator>>) {
    match plan {
        Plan::Scan(_) => {}
        Plan::Filter { input, condition } => {
            add_steps(input, steps);
            steps.push(Box::new(Filter::new(condition.clone())));
        }
        Plan::Project { input, schema, key, value } => {
            add_steps(input, steps);
            steps.push(Box::new(Project::new(schema.clone(), key.clone(), value.clone())));
        }
    }
}
