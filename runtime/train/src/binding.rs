//! Which column of a data set serves which input of a model.

use dlc_abi::ElemType;
use dlc_data::{Column, ColumnKind, Dataset, Slot};
use dlc_exec::Workspace;

use crate::error::{TrainError, column_shape};
use crate::prepared::InputDesc;
use crate::tensor::elem_name;

/// For each input of a program the column that it is filled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    columns: Vec<String>,
}

impl Binding {
    /// An input takes the column of its name. Of the inputs left over, the only one of floats takes the only column of
    /// features that is left, and the only one of integers the only column of labels.
    ///
    /// # Errors
    /// When an input finds no column, or one of another type or shape.
    pub fn new(inputs: &[InputDesc], dataset: &Dataset) -> Result<Self, TrainError> {
        let named = |name: &str| inputs.iter().any(|input| input.name == name);
        let columns = inputs
            .iter()
            .map(|input| {
                let by_name = dataset.columns().iter().find(|column| column.name() == input.name);
                let column = match by_name {
                    Some(column) => column,
                    None => {
                        let kind = kind_of(input);
                        let lonely = only(inputs.iter().filter(|other| {
                            kind_of(other) == kind
                                && !dataset.columns().iter().any(|c| c.name() == other.name)
                        }));
                        let left = dataset
                            .columns()
                            .iter()
                            .filter(|c| c.kind() == kind && !named(c.name()));
                        match (lonely, only(left)) {
                            (Some(_), Some(column)) => column,
                            _ => return Err(no_column(input, dataset)),
                        }
                    }
                };
                check(input, column, dataset)?;
                Ok(column.name().to_owned())
            })
            .collect::<Result<_, _>>()?;
        Ok(Binding { columns })
    }

    /// The columns with the types that the inputs take.
    pub fn columns(&self, inputs: &[InputDesc]) -> Vec<(String, ElemType)> {
        self.columns.iter().cloned().zip(inputs.iter().map(|input| input.elem)).collect()
    }

    /// Copies a batch that was read ahead for [`Binding::columns`] into the inputs. Allocates nothing.
    pub fn copy(
        inputs: &[InputDesc],
        workspace: &mut Workspace,
        slot: &Slot,
    ) -> Result<(), TrainError> {
        for (column, input) in inputs.iter().enumerate() {
            if let Some(values) = slot.f32(column) {
                workspace.set_input(&input.name, slot.n_examples(), values)?;
            } else if let Some(values) = slot.i32(column) {
                workspace.set_input(&input.name, slot.n_examples(), values)?;
            }
        }
        Ok(())
    }

    /// Writes a batch of examples into the inputs that the binding was made for. Allocates nothing.
    pub fn fill(
        &self,
        inputs: &[InputDesc],
        workspace: &mut Workspace,
        dataset: &Dataset,
        examples: &[u32],
    ) -> Result<(), TrainError> {
        for (input, column) in inputs.iter().zip(&self.columns) {
            // `check` has let no other types pass.
            if input.elem == ElemType::F32 {
                let target = workspace.input_mut::<f32>(&input.name, examples.len())?;
                dataset.gather(column, examples, target)?;
            } else {
                let target = workspace.input_mut::<i32>(&input.name, examples.len())?;
                dataset.gather(column, examples, target)?;
            }
        }
        Ok(())
    }
}

/// What a column for an input would be called, judged by its type.
fn kind_of(input: &InputDesc) -> ColumnKind {
    match input.elem {
        ElemType::F32 | ElemType::F64 | ElemType::Bf16 | ElemType::F16 => ColumnKind::Features,
        ElemType::I32 | ElemType::I64 | ElemType::U8 | ElemType::I8 | ElemType::Bool => {
            ColumnKind::Label
        }
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn no_column(input: &InputDesc, dataset: &Dataset) -> TrainError {
    let describe = |column: &Column| {
        format!("`{}`: {}{}", column.name(), elem_name(column.elem()), column_shape(column.shape()))
    };
    TrainError::NoColumn {
        dataset: dataset.name().to_owned(),
        input: input.name.clone(),
        elem: input.elem,
        shape: input.shape.clone(),
        columns: dataset.columns().iter().map(describe).collect(),
    }
}

/// Axes of extent 1 change nothing about where values lie, so shapes may differ by them.
fn check(input: &InputDesc, column: &Column, dataset: &Dataset) -> Result<(), TrainError> {
    let wide = |extent: &Option<i64>| *extent != Some(1);
    let batched = input.shape.first().is_some_and(|dim| (dim.batch_factor, dim.constant) == (1, 0));
    let wanted = input.shape.iter().skip(1).map(|dim| dim.as_fixed()).filter(wide);
    let found = column.shape().iter().map(|&extent| i64::try_from(extent).ok()).filter(wide);
    if batched && wanted.eq(found) && column.serves(input.elem) {
        return Ok(());
    }
    Err(TrainError::Column {
        dataset: dataset.name().to_owned(),
        column: column.name().to_owned(),
        input: input.name.clone(),
        elem: input.elem,
        shape: input.shape.clone(),
        found_elem: column.elem(),
        found_shape: column.shape().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlc_abi::Dim;

    fn input(name: &str, elem: ElemType, extents: &[i64]) -> InputDesc {
        let rest = extents.iter().map(|&extent| Dim::fixed(extent));
        InputDesc {
            name: name.to_owned(),
            elem,
            shape: std::iter::once(Dim::batch()).chain(rest).collect(),
        }
    }

    fn digits() -> Dataset {
        let image = Column::from_f32("image", &[2, 2, 1], vec![0.0; 8]);
        let label = Column::from_labels("label", Some(3), vec![2, 0]);
        Dataset::new("d", vec![image, label]).expect("sound")
    }

    fn columns(inputs: &[InputDesc]) -> Result<Vec<String>, String> {
        Binding::new(inputs, &digits()).map(|b| b.columns).map_err(|error| error.to_string())
    }

    #[test]
    fn inputs_find_their_columns_by_name_and_else_by_kind() {
        let label = input("label", ElemType::I32, &[]);
        let names =
            |list: &[&str]| Ok(list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let image = input("image", ElemType::F32, &[2, 2, 1]);
        assert_eq!(columns(&[image, label.clone()]), names(&["image", "label"]));
        let x = input("x", ElemType::F32, &[2, 2, 1]);
        let y = input("y", ElemType::I32, &[]);
        assert_eq!(columns(&[y, x]), names(&["label", "image"]));
        assert_eq!(columns(&[label]), names(&["label"]));
    }

    #[test]
    fn an_input_without_a_column_is_told_what_there_is() {
        let ambiguous =
            [input("a", ElemType::F32, &[2, 2, 1]), input("b", ElemType::F32, &[2, 2, 1])];
        assert_eq!(
            columns(&ambiguous),
            Err("no column of data `d` serves as input `a`: f32[batch, 2, 2, 1]; its columns are \
                 `image`: f32[batch, 2, 2, 1], `label`: i32[batch]"
                .to_owned())
        );
        let image = input("image", ElemType::F32, &[2, 2, 1]);
        assert!(
            columns(&[image, input("mask", ElemType::F32, &[2])]).is_err(),
            "its column is taken"
        );
    }

    #[test]
    fn integers_are_real_numbers_and_axes_of_one_do_not_count() {
        let names = Ok(vec!["image".to_owned(), "label".to_owned()]);
        let inputs =
            [input("image", ElemType::F32, &[2, 1, 2]), input("label", ElemType::F32, &[1])];
        assert_eq!(columns(&inputs), names);
    }

    #[test]
    fn a_mismatch_shows_both_sides() {
        assert_eq!(
            columns(&[input("image", ElemType::F32, &[28, 28, 1])]),
            Err("input `image` is f32[batch, 28, 28, 1], but column `image` of data `d` is f32[batch, 2, 2, 1]"
                .to_owned())
        );
        assert_eq!(
            columns(&[input("image", ElemType::I32, &[2, 2, 1])]),
            Err("input `image` is i32[batch, 2, 2, 1], but column `image` of data `d` is f32[batch, 2, 2, 1]"
                .to_owned())
        );
        assert_eq!(
            columns(&[input("label", ElemType::I32, &[3])]),
            Err("input `label` is i32[batch, 3], but column `label` of data `d` is i32[batch]"
                .to_owned())
        );
    }
}
