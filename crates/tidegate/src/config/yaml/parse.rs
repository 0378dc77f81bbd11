//! Text to tree, on a parser of events, because events tell where keys stand and a deserialiser
//! does not. Nothing here recurses, and what a hostile file could blow up is bounded: nesting by
//! `DEEPEST`, aliases by what their copies cost.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use super::super::error::{Fault, Place, Position, Problems};
use super::syntax::{DEEPEST, syntax_fault, too_deep};
use super::variables::{Dollar, Variables, fill};
use super::{At, Entry, Key, Kind, Node, Quoted, Scalar, item_path, key_path};

/// What the copies that aliases ask for may cost in all, in bytes or so.
const ALIAS_BUDGET: usize = 4 << 20;
/// What a copied node costs beside its text.
const NODE_COST: usize = 128;

/// Parses the one document in `text`. `None`: there is no tree, and `problems` say why. Where
/// there is one, problems may still have come up (variables, duplicate keys).
pub(in crate::config) fn parse(
    file: &Arc<str>,
    text: &str,
    variables: &dyn Variables,
    problems: &mut Problems,
) -> Option<Node> {
    let mut builder = Builder {
        file,
        variables,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        alias_cost: 0,
        documents: 0,
        root: None,
    };
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let done = match next {
            Ok((event, span)) => builder.event(event, span.start),
            Err(error) => Err(syntax_fault(&error, text)),
        };
        if let Err((marker, fault)) = done {
            let place = builder.at(marker).place(builder.path());
            builder.problems.fault(&place, fault);
            return None;
        }
    }
    let root = builder.root;
    if !matches!(
        root,
        None | Some(Node {
            kind: Kind::Null,
            ..
        })
    ) {
        return root;
    }
    problems.suggest(
        &Place::file(file),
        "the file is empty",
        "a configuration begins with `version: 1`",
    );
    None
}

/// What ends the parsing, and where.
type Stop = (Marker, Fault);

struct Builder<'a> {
    file: &'a Arc<str>,
    variables: &'a dyn Variables,
    problems: &'a mut Problems,
    /// The collections that are not yet closed, the innermost last.
    open: Vec<Open>,
    anchors: HashMap<usize, Finished>,
    alias_cost: usize,
    documents: usize,
    root: Option<Node>,
}

/// A collection whose end has not come.
struct Open {
    at: At,
    anchor: usize,
    content: Content,
    cost: usize,
    depth: usize,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        names: HashSet<String>,
        key: Option<PendingKey>,
    },
}

/// A key whose value has not come.
struct PendingKey {
    key: Key,
    /// Its value is read and dropped: it stood there before, or is no key.
    is_dropped: bool,
}

/// A node with what a copy of it costs, and how deep it is.
#[derive(Clone)]
struct Finished {
    node: Node,
    cost: usize,
    depth: usize,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, marker: Marker) -> Result<(), Stop> {
        if let Some(tag) = event.tag() {
            let fault = Fault::new(format!(
                "the tag {} is not understood",
                Quoted(&tag.original())
            ));
            return Err((marker, fault.suggest("leave it out; quotes make a text")));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let fault = Fault::new("a second document begins here");
                    return Err((marker, fault.suggest("a configuration is one document")));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, _) => self.scalar(text, style, anchor, marker),
            Event::SequenceStart(_, anchor, _) => {
                self.open(Content::List(Vec::new()), anchor, marker)
            }
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    names: HashSet::new(),
                    key: None,
                };
                self.open(content, anchor, marker)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(marker),
            Event::Alias(id) => self.alias(id, marker),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        marker: Marker,
    ) -> Result<(), Stop> {
        let at = self.at(marker);
        let is_plain = style == ScalarStyle::Plain;
        let path = self.path();
        let dollar = if path.ends_with("rewrite_path.to") {
            Dollar::MayBeGroup
        } else {
            Dollar::IsVariable
        };
        let kind = match fill(&text, self.variables, dollar) {
            Ok(Some(text)) => Kind::Scalar(Scalar {
                text,
                quoted: false,
            }),
            Ok(None) if is_plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") => {
                Kind::Null
            }
            Ok(None) => Kind::Scalar(Scalar {
                text: text.into_owned(),
                quoted: !is_plain,
            }),
            Err(fault) => {
                self.problems.fault(&at.place(path), fault);
                Kind::Broken
            }
        };
        let finished = Finished {
            cost: NODE_COST + scalar_len(&kind),
            depth: 1,
            node: Node { kind, at },
        };
        self.finish(finished, anchor, marker)
    }

    fn alias(&mut self, id: usize, marker: Marker) -> Result<(), Stop> {
        let Some(target) = self.anchors.get(&id) else {
            return Err((
                marker,
                Fault::new("this alias stands inside its own anchor"),
            ));
        };
        if self.open.len() + target.depth > DEEPEST {
            return Err((marker, too_deep()));
        }
        let cost = target.cost;
        self.spend(cost, marker)?;
        let copy = self.anchors[&id].clone();
        self.finish(copy, 0, marker)
    }

    fn spend(&mut self, cost: usize, marker: Marker) -> Result<(), Stop> {
        self.alias_cost = self.alias_cost.saturating_add(cost);
        if self.alias_cost > ALIAS_BUDGET {
            let fault = Fault::new("the aliases up to here blow the file up beyond all measure");
            return Err((marker, fault.suggest("use fewer anchors and aliases")));
        }
        Ok(())
    }

    fn open(&mut self, content: Content, anchor: usize, marker: Marker) -> Result<(), Stop> {
        if self.open.len() >= DEEPEST {
            return Err((marker, too_deep()));
        }
        let at = self.at(marker);
        if self.awaits_key() {
            let fault = Fault::new("a key is a single value, not a list or a map");
            return Err((marker, fault));
        }
        self.open.push(Open {
            at,
            anchor,
            content,
            cost: NODE_COST,
            depth: 0,
        });
        Ok(())
    }

    fn close(&mut self, marker: Marker) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let kind = match open.content {
            Content::List(items) => Kind::List(items),
            Content::Map { entries, .. } => Kind::Map(entries),
        };
        let finished = Finished {
            node: Node { kind, at: open.at },
            cost: open.cost,
            depth: open.depth + 1,
        };
        self.finish(finished, open.anchor, marker)
    }

    /// Hands a finished node to the collection in which it stands.
    fn finish(&mut self, finished: Finished, anchor: usize, marker: Marker) -> Result<(), Stop> {
        if anchor != 0 {
            self.spend(finished.cost, marker)?;
            self.anchors.insert(anchor, finished.clone());
        }
        if self.awaits_key() {
            self.key(finished.node);
            return Ok(());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(finished.node);
            return Ok(());
        };
        open.cost = open.cost.saturating_add(finished.cost);
        open.depth = open.depth.max(finished.depth);
        match &mut open.content {
            Content::List(items) => items.push(finished.node),
            Content::Map { entries, key, .. } => {
                if let Some(PendingKey {
                    key,
                    is_dropped: false,
                }) = key.take()
                {
                    entries.push(Entry {
                        key,
                        value: finished.node,
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes `node` as the next key of the innermost map.
    fn key(&mut self, node: Node) {
        let path = self.path();
        let Some(Open {
            content:
                Content::Map {
                    entries,
                    names,
                    key,
                },
            ..
        }) = self.open.last_mut()
        else {
            return;
        };
        let name = match node.kind {
            Kind::Scalar(scalar) => Some(scalar.text),
            Kind::Broken => None,
            _ => {
                let place = node.at.place(path.as_str());
                self.problems
                    .add(&place, "a key is a text and cannot be empty");
                None
            }
        };
        let is_dropped = match &name {
            Some(name) if !names.insert(name.clone()) => {
                let first = entries.iter().find(|entry| entry.key.name == *name);
                let line = first.map_or(0, |entry| entry.key.at.position.line);
                self.problems.suggest(
                    &node.at.place(key_path(&path, name)),
                    "this key was written before",
                    format!("it stands in line {line} already"),
                );
                true
            }
            name => name.is_none(),
        };
        *key = Some(PendingKey {
            key: Key {
                name: name.unwrap_or_default(),
                at: node.at,
            },
            is_dropped,
        });
    }

    fn awaits_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                content: Content::Map { key: None, .. },
                ..
            })
        )
    }

    /// The YAML path of the node that comes next.
    fn path(&self) -> String {
        self.open
            .iter()
            .fold(String::new(), |path, open| match &open.content {
                Content::List(items) => item_path(&path, items.len()),
                Content::Map { key: Some(key), .. } => key_path(&path, &key.key.name),
                Content::Map { key: None, .. } => path,
            })
    }

    fn at(&self, marker: Marker) -> At {
        At {
            file: Arc::clone(self.file),
            position: Position {
                line: marker.line().max(1),
                column: marker.col() + 1,
            },
        }
    }
}

fn scalar_len(kind: &Kind) -> usize {
    match kind {
        Kind::Scalar(scalar) => scalar.text.len(),
        _ => 0,
    }
}
