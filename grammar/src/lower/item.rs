//! Items: declarations, training, parallelism.
use super::{Lower, Parts};
use crate::ast::*;
use crate::diagnostic::{Applicability, Diagnostic};
use crate::lex::{self, TokenKind};
use crate::parse::{Piece, Rule, nearest};
use crate::span::Span;
use pest::iterators::Pair;

impl Lower<'_> {
    pub(crate) fn items(&mut self, file: Pair<'_, Rule>) -> Vec<Item> {
        let mut items = Vec::new();
        for pair in Parts::of(file).pairs {
            if pair.as_rule() == Rule::item {
                items.extend(self.item(pair));
            }
        }
        items
    }

    fn item(&mut self, pair: Pair<'_, Rule>) -> Option<Item> {
        let mut parts = Parts::of(pair);
        let docs = self.docs(&mut parts);
        let form = parts.next()?;
        let span = self.span(&form);
        let kind = match form.as_rule() {
            Rule::use_item => ItemKind::Use(self.use_(form)),
            Rule::decl => ItemKind::Decl(self.decl(form)),
            Rule::train => ItemKind::Train(self.train(form)),
            Rule::parallel => ItemKind::Parallel(self.parallel(form)),
            Rule::stray_doc => {
                self.stray_doc(span);
                return None;
            }
            _ => {
                self.bad(Piece::Item, span);
                ItemKind::Bad(self.name_of_bad(span))
            }
        };
        Some(Item { docs, kind, span })
    }

    /// The second word of an item that could not be read, so that its uses are not reported as unknown.
    fn name_of_bad(&self, span: Span) -> Option<Ident> {
        let text = &self.text[..span.end as usize];
        let kind = lex::token(text, span.start as usize);
        let name = lex::token(text, kind.end);
        let known = DeclKind::ALL.iter().any(|k| k.word() == &text[kind.start..kind.end]);
        (known && name.kind == TokenKind::Word).then(|| Ident {
            name: text[name.start..name.end].to_string(),
            span: Span::new(self.file, name.start, name.end),
        })
    }

    fn use_(&mut self, pair: Pair<'_, Rule>) -> Use {
        let mut parts = Parts::of(pair);
        Use {
            path: self.string(&parts.need(Rule::string)),
            alias: parts.take(Rule::ident).map(|name| self.ident(&name)),
        }
    }

    fn decl(&mut self, pair: Pair<'_, Rule>) -> Decl {
        let mut parts = Parts::of(pair);
        let word = parts.need(Rule::decl_kind);
        let kind = DeclKind::ALL.into_iter().find(|kind| kind.word() == word.as_str().trim_end());
        let name = self.ident(&parts.need(Rule::ident));
        let formals = self.formals(&mut parts);
        let results = match parts.take(Rule::results) {
            Some(results) => Parts::of(results).pairs.map(|result| self.result(result)).collect(),
            None => Vec::new(),
        };
        let wheres = match parts.take(Rule::wheres) {
            Some(wheres) => Parts::of(wheres).pairs.map(|clause| self.where_(clause)).collect(),
            None => Vec::new(),
        };
        let body = match parts.take(Rule::block) {
            Some(block) => Body::Block(self.block(block)),
            None => Body::Expr(self.expr(parts.need(Rule::expr))),
        };
        Decl {
            kind: kind.expect("the grammar and the tree list the same kinds"),
            name,
            formals,
            results,
            wheres,
            body,
        }
    }

    fn formals(&mut self, parts: &mut Parts<'_>) -> Vec<Formal> {
        match parts.take(Rule::formals) {
            Some(formals) => Parts::of(formals).pairs.map(|formal| self.formal(formal)).collect(),
            None => Vec::new(),
        }
    }

    fn formal(&mut self, pair: Pair<'_, Rule>) -> Formal {
        let mut span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let docs = self.docs(&mut parts);
        let name = self.ident(&parts.need(Rule::ident));
        span.start = name.span.start;
        let ty = parts.take(Rule::type_).map(|ty| self.ty(ty));
        let default = parts.take(Rule::inner).map(|value| self.expr(value));
        Formal { docs, name, ty, default, span }
    }

    fn result(&mut self, pair: Pair<'_, Rule>) -> ResultSpec {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        ResultSpec {
            name: parts.take(Rule::ident).map(|name| self.ident(&name)),
            ty: self.ty(parts.need(Rule::type_)),
            span,
        }
    }

    fn where_(&mut self, pair: Pair<'_, Rule>) -> Where {
        let span = self.span(&pair);
        let mut clause = Parts::of(pair);
        let kind = match clause.take(Rule::where_def) {
            Some(def) => self.where_def(def),
            None => {
                let mut parts = Parts::of(clause.need(Rule::where_req));
                WhereKind::Require {
                    condition: self.expr(parts.need(Rule::expr)),
                    message: parts.take(Rule::string).map(|text| self.string(&text)),
                }
            }
        };
        Where { kind, span }
    }

    fn where_def(&mut self, pair: Pair<'_, Rule>) -> WhereKind {
        let mut parts = Parts::of(pair);
        let target = match parts.take(Rule::where_len) {
            Some(len) => WhereTarget::Len(self.ident(&Parts::of(len).need(Rule::ident))),
            None => {
                let name = self.ident(&parts.need(Rule::ident));
                if parts.has(Rule::dots) {
                    WhereTarget::Pack(name)
                } else {
                    WhereTarget::Name(name)
                }
            }
        };
        WhereKind::Define { target, value: self.expr(parts.need(Rule::expr)) }
    }

    fn train(&mut self, pair: Pair<'_, Rule>) -> Train {
        let mut parts = Parts::of(pair);
        Train {
            name: self.ident(&parts.need(Rule::ident)),
            formals: self.formals(&mut parts),
            body: self.train_block(parts.need(Rule::tblock)),
        }
    }

    fn train_block(&mut self, pair: Pair<'_, Rule>) -> TrainBlock {
        let span = self.span(&pair);
        let mut stmts = Vec::new();
        for stmt in Parts::of(pair).pairs {
            stmts.extend(self.train_stmt(stmt));
        }
        TrainBlock { stmts, span }
    }

    fn train_stmt(&mut self, pair: Pair<'_, Rule>) -> Option<TrainStmt> {
        let mut parts = Parts::of(pair);
        let docs = self.docs(&mut parts);
        let form = parts.next()?;
        let span = self.span(&form);
        let kind = match form.as_rule() {
            Rule::step => TrainStmtKind::Step(self.step(form)),
            Rule::let_ => TrainStmtKind::Let(self.let_(form)),
            Rule::setting => match self.setting(form) {
                Some(setting) => TrainStmtKind::Setting(setting),
                None => TrainStmtKind::Bad,
            },
            Rule::stray_doc => {
                self.stray_doc(span);
                return None;
            }
            _ => {
                self.bad(Piece::TrainStmt, span);
                TrainStmtKind::Bad
            }
        };
        Some(TrainStmt { docs, kind, span })
    }

    fn step(&mut self, pair: Pair<'_, Rule>) -> Step {
        let mut parts = Parts::of(pair);
        Step {
            name: self.ident(&parts.need(Rule::ident)),
            times: parts.take(Rule::expr).map(|times| self.expr(times)),
            body: self.train_block(parts.need(Rule::tblock)),
        }
    }

    /// A setting, or nothing where its first word names none.
    fn setting(&mut self, pair: Pair<'_, Rule>) -> Option<Setting> {
        let mut parts = Parts::of(pair);
        let word = self.ident(&parts.need(Rule::ident));
        let name = parts.take(Rule::setting_name);
        let name = name.map(|name| self.ident(&Parts::of(name).need(Rule::ident)));
        let value = parts.next().expect("a setting has a value");
        let value = match value.as_rule() {
            Rule::expr => SettingValue::Expr(self.expr(value)),
            Rule::call => SettingValue::Call(self.call(value)),
            _ => SettingValue::Globs(self.strings(value)),
        };
        let on = parts.take(Rule::on).map(|on| self.strings(on));
        let Some(key) = SettingKey::ALL.into_iter().find(|key| key.word() == word.name) else {
            self.unknown_setting(&word);
            return None;
        };
        Some(Setting { key, key_span: word.span, name, value, on: on.unwrap_or_default() })
    }

    fn strings(&mut self, pair: Pair<'_, Rule>) -> Vec<StrLit> {
        Parts::of(pair).pairs.map(|text| self.string(&text)).collect()
    }

    fn unknown_setting(&mut self, word: &Ident) {
        let known: Vec<&str> = SettingKey::ALL.iter().map(|key| key.word()).collect();
        let listed: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
        let headline = format!("there is no setting `{}`", word.name);
        let mut d = Diagnostic::error("E0117", headline, word.span)
            .label("not a setting of `train`")
            .note(format!("the settings are {}", listed.join(", ")));
        let meant = match word.name.as_str() {
            "batch_size" => Some("batch"),
            "optimiser" => Some("optimizer"),
            "metrics" => Some("metric"),
            name => nearest(name, &known),
        };
        if let Some(meant) = meant {
            d = d.fix(format!("did you mean `{meant}`?"), word.span, meant, Applicability::Unsafe);
        }
        self.report(d);
    }

    fn parallel(&mut self, pair: Pair<'_, Rule>) -> Parallel {
        let mut parts = Parts::of(pair);
        Parallel {
            name: self.ident(&parts.need(Rule::ident)),
            body: self.parallel_block(parts.need(Rule::pblock)),
        }
    }

    fn parallel_block(&mut self, pair: Pair<'_, Rule>) -> ParallelBlock {
        let span = self.span(&pair);
        let mut stmts = Vec::new();
        for stmt in Parts::of(pair).pairs {
            stmts.extend(self.parallel_stmt(stmt));
        }
        ParallelBlock { stmts, span }
    }

    fn parallel_stmt(&mut self, pair: Pair<'_, Rule>) -> Option<ParallelStmt> {
        let mut parts = Parts::of(pair);
        let docs = self.docs(&mut parts);
        let form = parts.next()?;
        let span = self.span(&form);
        let rule = form.as_rule();
        let mut inner = match rule {
            Rule::p_data | Rule::p_pipeline | Rule::p_tensor | Rule::p_option => Parts::of(form),
            Rule::stray_doc => {
                self.stray_doc(span);
                return None;
            }
            _ => {
                self.bad(Piece::ParallelStmt, span);
                let kind = ParallelStmtKind::Bad;
                return Some(ParallelStmt { docs, kind, span });
            }
        };
        let name = inner.take(Rule::ident).map(|name| self.ident(&name));
        let value = self.expr(inner.need(Rule::expr));
        let paths = match inner.take(Rule::paths) {
            Some(paths) => paths
                .into_inner()
                .filter(|part| part.as_rule() == Rule::path)
                .map(|path| self.path(path))
                .collect(),
            None => Vec::new(),
        };
        let body = inner.take(Rule::pblock).map(|block| self.parallel_block(block));
        let kind = match (rule, name) {
            (_, Some(name)) => ParallelStmtKind::Option { name, value },
            (Rule::p_data, None) => ParallelStmtKind::Data { count: value, body },
            (Rule::p_pipeline, None) => {
                ParallelStmtKind::Pipeline { count: value, at: paths, body }
            }
            (_, None) => ParallelStmtKind::Tensor { count: value, on: paths },
        };
        Some(ParallelStmt { docs, kind, span })
    }
}
