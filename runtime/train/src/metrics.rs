//! Losses and metric totals added up over batches, and the values they come to.

use dlc_abi::{BufferRole, ElemType};
use dlc_exec::{Gang, Memory, Persistent, Program, Workspace};

use crate::error::TrainError;
use crate::prepared::{Clock, InputDesc, Prepared, outputs};

/// Prefix of the names of metric totals and metric values among a program's outputs.
const METRIC: &str = "metric.";

/// The value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name in the text of the model.
    pub name: String,
    /// Its shape; most metrics are one number, of shape `[]`.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f64>,
}

impl Metric {
    /// The value, if it is one number.
    pub fn scalar(&self) -> Option<f64> {
        match self.values[..] {
            [value] if self.shape.is_empty() => Some(value),
            _ => None,
        }
    }
}

/// What came of some batches.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The mean loss of the examples.
    pub loss: f64,
    /// How many examples there were.
    pub examples: u64,
    /// The metrics, in the order of the text.
    pub metrics: Vec<Metric>,
}

/// Sums over batches.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    loss: f64,
    examples: u64,
    totals: Vec<Total>,
}

#[derive(Debug, Clone)]
struct Total {
    name: String,
    values: TotalValues,
}

/// Integers are added up exactly, floats in double precision.
#[derive(Debug, Clone)]
enum TotalValues {
    F32(Vec<f64>),
    F64(Vec<f64>),
    I32(Vec<i64>),
    I64(Vec<i64>),
}

impl Sums {
    /// Sums of nothing, for the loss and the totals that a program gives.
    pub fn of(program: &Program) -> Result<Self, TrainError> {
        let mut totals = Vec::new();
        for output in outputs(program).into_iter().filter(|output| output.name.starts_with(METRIC))
        {
            totals.push(Total { values: zeros(program, &output)?, name: output.name });
        }
        Ok(Sums { loss: 0.0, examples: 0, totals })
    }

    /// Forgets all batches.
    pub fn clear(&mut self) {
        (self.loss, self.examples) = (0.0, 0);
        for total in &mut self.totals {
            match &mut total.values {
                TotalValues::F32(sums) | TotalValues::F64(sums) => sums.fill(0.0),
                TotalValues::I32(sums) | TotalValues::I64(sums) => sums.fill(0),
            }
        }
    }

    /// Adds a batch of `examples` that has just run in a workspace, with its mean loss; `batch` of them were this rank's. Allocates nothing.
    pub fn add(
        &mut self,
        workspace: &Workspace,
        loss: f32,
        batch: usize,
        examples: usize,
    ) -> Result<(), TrainError> {
        self.loss += f64::from(loss) * examples as f64;
        self.examples += examples as u64;
        for total in &mut self.totals {
            let name = &total.name;
            match &mut total.values {
                TotalValues::F32(sums) => {
                    for (sum, &value) in sums.iter_mut().zip(workspace.output::<f32>(name, batch)?)
                    {
                        *sum += f64::from(value);
                    }
                }
                TotalValues::F64(sums) => {
                    for (sum, &value) in sums.iter_mut().zip(workspace.output::<f64>(name, batch)?)
                    {
                        *sum += value;
                    }
                }
                TotalValues::I32(sums) => {
                    for (sum, &value) in sums.iter_mut().zip(workspace.output::<i32>(name, batch)?)
                    {
                        *sum = add(name, *sum, i64::from(value))?;
                    }
                }
                TotalValues::I64(sums) => {
                    for (sum, &value) in sums.iter_mut().zip(workspace.output::<i64>(name, batch)?)
                    {
                        *sum = add(name, *sum, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many examples were added.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// The mean loss, and the metrics as the model's finish program makes them of the totals.
    pub fn report(
        &self,
        finish: Option<&mut Prepared>,
        memory: &Memory,
        gang: &Gang,
        clock: Clock,
    ) -> Result<Report, TrainError> {
        let metrics = match finish {
            Some(finish) if self.examples > 0 && self.serves(finish) => {
                for index in 0..finish.inputs.len() {
                    self.set(finish, index)?;
                }
                finish.run(Persistent::Shared(memory), 1, gang, clock)?;
                values(finish)?
            }
            _ => Vec::new(),
        };
        Ok(Report { loss: self.loss / self.examples as f64, examples: self.examples, metrics })
    }

    fn find(&self, name: &str) -> Option<&Total> {
        self.totals.iter().find(|total| total.name == name)
    }

    /// Whether every total that the metrics need is there.
    fn serves(&self, finish: &Prepared) -> bool {
        finish.inputs.iter().all(|input| self.find(&input.name).is_some())
    }

    /// Hands a total to the finish program, whose input may be of a wider type than the totals of one batch.
    fn set(&self, finish: &mut Prepared, index: usize) -> Result<(), TrainError> {
        let InputDesc { name, elem, .. } = &finish.inputs[index];
        let total = self.find(name).expect("`serves` has found every total");
        let workspace = &mut finish.workspace;
        match (&total.values, elem) {
            (TotalValues::F32(sums) | TotalValues::F64(sums), ElemType::F32) => {
                let target = workspace.input_mut::<f32>(name, 1)?;
                target.iter_mut().zip(sums).for_each(|(value, &sum)| *value = sum as f32);
            }
            (TotalValues::F32(sums) | TotalValues::F64(sums), ElemType::F64) => {
                workspace.input_mut::<f64>(name, 1)?.copy_from_slice(sums);
            }
            (TotalValues::I32(sums) | TotalValues::I64(sums), ElemType::I32) => {
                let target = workspace.input_mut::<i32>(name, 1)?;
                for (value, &sum) in target.iter_mut().zip(sums) {
                    *value = i32::try_from(sum).map_err(|_| TrainError::Range {
                        name: name.clone(),
                        value: sum.to_string(),
                    })?;
                }
            }
            (TotalValues::I32(sums) | TotalValues::I64(sums), ElemType::I64) => {
                workspace.input_mut::<i64>(name, 1)?.copy_from_slice(sums);
            }
            (TotalValues::I32(sums) | TotalValues::I64(sums), ElemType::F32) => {
                let target = workspace.input_mut::<f32>(name, 1)?;
                target.iter_mut().zip(sums).for_each(|(value, &sum)| *value = sum as f32);
            }
            (_, _) => {
                return Err(TrainError::Contract {
                    program: workspace.program().manifest().name.clone(),
                    problem: format!("total `{name}` is of another type than the batches give"),
                });
            }
        }
        Ok(())
    }
}

fn add(name: &str, sum: i64, value: i64) -> Result<i64, TrainError> {
    sum.checked_add(value).ok_or_else(|| TrainError::Range {
        name: name.to_owned(),
        value: (i128::from(sum) + i128::from(value)).to_string(),
    })
}

fn zeros(program: &Program, output: &InputDesc) -> Result<TotalValues, TrainError> {
    let contract = |problem: String| TrainError::Contract {
        program: program.manifest().name.clone(),
        problem: format!("total `{}` {problem}", output.name),
    };
    let extents: Option<Vec<i64>> = output.shape.iter().map(|dim| dim.as_fixed()).collect();
    let Some(extents) = extents else {
        return Err(contract("depends on the batch".to_owned()));
    };
    let n = extents.iter().product::<i64>() as usize;
    match output.elem {
        ElemType::F32 => Ok(TotalValues::F32(vec![0.0; n])),
        ElemType::F64 => Ok(TotalValues::F64(vec![0.0; n])),
        ElemType::I32 => Ok(TotalValues::I32(vec![0; n])),
        ElemType::I64 => Ok(TotalValues::I64(vec![0; n])),
        other @ (ElemType::U8 | ElemType::Bool | ElemType::Bf16 | ElemType::F16 | ElemType::I8) => {
            Err(contract(format!("is of type {other:?}")))
        }
    }
}

/// The metrics that a finish program has just computed.
fn values(finish: &Prepared) -> Result<Vec<Metric>, TrainError> {
    let workspace = &finish.workspace;
    let manifest = workspace.program().manifest();
    let mut metrics = Vec::new();
    for desc in manifest.buffers.iter().filter(|desc| desc.role == BufferRole::Output) {
        let Some(name) = desc.name.strip_prefix(METRIC) else { continue };
        let values = match desc.elem {
            ElemType::F32 => workspace
                .output::<f32>(&desc.name, 1)?
                .iter()
                .map(|&value| f64::from(value))
                .collect(),
            ElemType::F64 => workspace.output::<f64>(&desc.name, 1)?.to_vec(),
            ElemType::I32 => workspace
                .output::<i32>(&desc.name, 1)?
                .iter()
                .map(|&value| f64::from(value))
                .collect(),
            other => {
                return Err(TrainError::Contract {
                    program: manifest.name.clone(),
                    problem: format!("metric `{name}` is of type {other:?}"),
                });
            }
        };
        let shape = desc.shape.iter().map(|dim| dim.at(1) as usize).collect();
        metrics.push(Metric { name: name.to_owned(), shape, values });
    }
    Ok(metrics)
}
