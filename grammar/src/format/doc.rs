//! Layouts and how they are put on lines.
//!
//! A [`Doc`] is text with places where a line may end. A group is laid flat if it fits up to its first certain line end,
//! otherwise all its separators become line ends; a fill ends lines only where the next piece would not fit. After
//! Wadler, "A prettier printer", 2003, with fills as in Leijen's variant.

/// One step of indentation.
const INDENT: usize = 4;

/// A layout.
#[derive(Debug, Clone)]
pub(super) enum Doc {
    Text(String),
    /// The text in a flat group, a line end in a broken one.
    Sep(&'static str),
    /// A line end.
    Hard,
    /// A line end and an empty line.
    Blank,
    /// A comment behind something; it takes no room, and the writer of the layout ends the line after it.
    Comment(String),
    Cat(Vec<Doc>),
    /// Lines within are indented by one step more.
    Nest(Box<Doc>),
    /// Lines within begin where the layout begins.
    Align(Box<Doc>),
    Group(Box<Doc>),
    /// Pieces with a blank or a line end between them.
    Fill(Vec<Doc>),
}

impl Doc {
    pub fn nil() -> Doc {
        Doc::Cat(Vec::new())
    }

    pub fn nest(self) -> Doc {
        Doc::Nest(Box::new(self))
    }

    pub fn align(self) -> Doc {
        Doc::Align(Box::new(self))
    }

    pub fn group(self) -> Doc {
        Doc::Group(Box::new(self))
    }

    /// Whether a line certainly ends within.
    pub fn breaks(&self) -> bool {
        match self {
            Doc::Text(_) | Doc::Sep(_) => false,
            Doc::Hard | Doc::Blank | Doc::Comment(_) => true,
            Doc::Cat(docs) | Doc::Fill(docs) => docs.iter().any(Doc::breaks),
            Doc::Nest(doc) | Doc::Align(doc) | Doc::Group(doc) => doc.breaks(),
        }
    }
}

pub(super) fn text(text: impl Into<String>) -> Doc {
    Doc::Text(text.into())
}

pub(super) fn cat<const N: usize>(docs: [Doc; N]) -> Doc {
    Doc::Cat(docs.into())
}

/// What is still to be laid out.
#[derive(Clone, Copy)]
enum Step<'d> {
    Doc(&'d Doc),
    /// The pieces of a fill from the second on.
    Rest(&'d [Doc]),
}

/// How the separators of a group are laid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As text; everything within fits.
    Flat,
    /// As text, but a line certainly ends within, so that what was measured says nothing about what comes after it.
    First,
    /// As line ends.
    Broken,
}

#[derive(Clone, Copy)]
struct Command<'d> {
    indent: usize,
    mode: Mode,
    step: Step<'d>,
}

struct Layout<'d> {
    width: usize,
    out: String,
    column: usize,
    /// The next command is the last one.
    commands: Vec<Command<'d>>,
}

/// Puts a layout on lines of at most `width` characters, where it has places to end them. The first line begins at column 0.
pub(super) fn render(doc: &Doc, width: usize) -> String {
    let first = Command { indent: 0, mode: Mode::Broken, step: Step::Doc(doc) };
    let mut layout = Layout { width, out: String::new(), column: 0, commands: vec![first] };
    while let Some(command) = layout.commands.pop() {
        layout.step(command);
    }
    layout.out
}

impl<'d> Layout<'d> {
    fn step(&mut self, command: Command<'d>) {
        let Command { indent, mode, .. } = command;
        let with = |step| Command { step, ..command };
        match command.step {
            Step::Rest(pieces) => self.rest(command, pieces),
            Step::Doc(doc) => match doc {
                Doc::Text(text) => self.write(text),
                Doc::Sep(text) if mode != Mode::Broken => self.write(text),
                Doc::Sep(_) | Doc::Hard => self.line(indent),
                Doc::Blank => {
                    self.line(0);
                    self.line(indent);
                }
                Doc::Comment(text) => {
                    self.out.push_str("  ");
                    self.out.push_str(text);
                }
                Doc::Cat(docs) => {
                    let steps = docs.iter().rev().map(|doc| with(Step::Doc(doc)));
                    self.commands.extend(steps);
                }
                Doc::Nest(doc) => {
                    self.commands.push(Command { indent: indent + INDENT, ..with(Step::Doc(doc)) });
                }
                Doc::Align(doc) => {
                    self.commands.push(Command { indent: self.column, ..with(Step::Doc(doc)) });
                }
                Doc::Group(inner) => {
                    let mode = if mode == Mode::Flat { mode } else { self.mode(inner) };
                    self.commands.push(Command { mode, ..with(Step::Doc(inner)) });
                }
                Doc::Fill(pieces) => {
                    if let Some((first, rest)) = pieces.split_first() {
                        self.commands.push(with(Step::Rest(rest)));
                        let mode = self.mode(first);
                        self.commands.push(Command { mode, ..with(Step::Doc(first)) });
                    }
                }
            },
        }
    }

    fn rest(&mut self, command: Command<'d>, pieces: &'d [Doc]) {
        let Some((next, rest)) = pieces.split_first() else {
            return;
        };
        self.commands.push(Command { step: Step::Rest(rest), ..command });
        if self.fits(1, next) {
            self.write(" ");
        } else {
            self.line(command.indent);
        }
        let mode = self.mode(next);
        self.commands.push(Command { mode, step: Step::Doc(next), ..command });
    }

    fn mode(&self, doc: &'d Doc) -> Mode {
        match (self.fits(0, doc), doc.breaks()) {
            (true, false) => Mode::Flat,
            (true, true) => Mode::First,
            (false, _) => Mode::Broken,
        }
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self, indent: usize) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// Whether `doc`, laid flat after `before` characters, and what follows it fit up to the next line end.
    fn fits(&self, before: usize, doc: &'d Doc) -> bool {
        let Some(mut room) = self.width.checked_sub(self.column + before) else {
            return false;
        };
        let mut pending = self.commands.iter().rev();
        let mut steps = vec![(true, Step::Doc(doc))];
        loop {
            let Some((flat, step)) = steps.pop() else {
                match pending.next() {
                    Some(command) => steps.push((command.mode != Mode::Broken, command.step)),
                    None => return true,
                }
                continue;
            };
            let width = match step {
                Step::Rest([]) => 0,
                Step::Rest(_) if !flat => return true,
                Step::Rest([next, rest @ ..]) => {
                    steps.push((flat, Step::Rest(rest)));
                    steps.push((flat, Step::Doc(next)));
                    1
                }
                Step::Doc(doc) => match doc {
                    Doc::Text(text) => text.chars().count(),
                    Doc::Sep(text) if flat => text.len(),
                    Doc::Sep(_) | Doc::Hard | Doc::Blank | Doc::Comment(_) => return true,
                    Doc::Cat(docs) => {
                        steps.extend(docs.iter().rev().map(|doc| (flat, Step::Doc(doc))));
                        0
                    }
                    Doc::Nest(doc) | Doc::Align(doc) | Doc::Group(doc) => {
                        steps.push((flat, Step::Doc(doc)));
                        0
                    }
                    Doc::Fill(pieces) => {
                        if let Some((first, rest)) = pieces.split_first() {
                            steps.push((flat, Step::Rest(rest)));
                            steps.push((flat, Step::Doc(first)));
                        }
                        0
                    }
                },
            };
            match room.checked_sub(width) {
                Some(left) => room = left,
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<Doc> {
        list.iter().map(|word| text(*word)).collect()
    }

    #[test]
    fn a_group_is_flat_or_broken_as_a_whole() {
        let doc = cat([
            text("{"),
            cat([Doc::Sep(" "), text("a;"), Doc::Sep(" "), text("b")]).nest(),
            Doc::Sep(" "),
            text("}"),
        ])
        .group();
        assert_eq!(render(&doc, 10), "{ a; b }");
        assert_eq!(render(&doc, 7), "{\n    a;\n    b\n}");
    }

    #[test]
    fn a_fill_ends_lines_only_where_it_must() {
        let doc = cat([text("f("), Doc::Fill(words(&["aa,", "bb,", "cc"])).align(), text(")")]);
        assert_eq!(render(&doc, 20), "f(aa, bb, cc)");
        assert_eq!(render(&doc, 12), "f(aa, bb,\n  cc)", "the bracket counts");
        assert_eq!(render(&doc, 5), "f(aa,\n  bb,\n  cc)");
    }

    #[test]
    fn what_breaks_anyway_is_flat_up_to_there() {
        let block = cat([
            text("{"),
            cat([Doc::Hard, text("a long statement")]).nest(),
            Doc::Hard,
            text("}"),
        ]);
        let doc = cat([text("x ="), cat([Doc::Sep(" "), block]).nest().group()]);
        assert_eq!(render(&doc, 12), "x = {\n        a long statement\n    }");
    }
}
