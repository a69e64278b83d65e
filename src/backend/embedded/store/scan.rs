//! Which whole models lie in the store, seen anew at each question and read only where something changed.
//!
//! What is cached, and how a change by another process (an Ollama, a person) is seen:
//!
//! | cached | trusted while | misses |
//! |---|---|---|
//! | names in each folder of `manifests/` | the folder's stamp is the same | nothing |
//! | a parsed manifest | the file's stamp is the same: one `stat` a model | nothing |
//! | the stamps of all blobs | the stamp of `blobs/` is the same, and for ten seconds at most | a blob that is cut or rewritten in place shows up to ten seconds late in lists; [`Scan::find`] looks at each blob of its model |
//! | facts of a blob's header | the blob's stamp is the same | nothing |
//!
//! A stamp is device, inode, size, modification and change time; one younger than two seconds when it was read is not
//! trusted ([`Stamp::settled`]). The content of blobs is not hashed here: a blob with wrong bytes and the right size is
//! listed as long as its header reads.
//!
//! So a warm list costs two `stat`s a model and no more. Rejected: watching by inotify. It misses network file systems, has
//! limits of its own, and a lost event would hide a model for ever.

use std::{collections::HashSet, fs::File, io, os::fd::AsFd, path::PathBuf, sync::Arc, time::SystemTime};

use self::{entry::Entry, folder::Folder, headers::Headers, table::Table};
use super::{layout::Layout, stamp::Stamp};
use crate::model::{ModelInfo, ModelName};

mod entry;
mod folder;
mod headers;
mod table;

/// The cache. One at a time asks it; a warm answer for a thousand models takes about a millisecond.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Namespaces, models, tags. Boxed, for a tree's node has room for eleven, and most models have one tag.
    hosts: Folder<Folder<Folder<Folder<Box<Entry>>>>>,
    table: Table,
    headers: Headers,
    /// Models in the last list, as many as will be in the next.
    listed: usize,
}

/// What one walk has at hand.
struct Walk<'a> {
    layout: &'a Layout,
    now: SystemTime,
    table: &'a mut Table,
    headers: &'a mut Headers,
    /// Look at the blobs themselves, not at the table.
    fresh: bool,
    /// Folded names that are given out already.
    taken: HashSet<Arc<str>>,
    found: Vec<Arc<ModelInfo>>,
}

// === impl Scan ===

impl Scan {
    /// All whole models, in the sorted order of their paths.
    pub(crate) fn all(&mut self, layout: &Layout) -> io::Result<Vec<Arc<ModelInfo>>> {
        let found = self.walk(layout, None, SystemTime::now())?;
        self.listed = found.len();
        self.headers.retain(&self.table);
        Ok(found)
    }

    /// The whole model of this name in whatever spelling; costs little beside [`Scan::all`], and is surer.
    pub(crate) fn find(&mut self, layout: &Layout, name: &ModelName) -> io::Result<Option<Arc<ModelInfo>>> {
        Ok(self.walk(layout, Some(name), SystemTime::now())?.into_iter().next())
    }

    fn walk(&mut self, layout: &Layout, only: Option<&ModelName>, now: SystemTime) -> io::Result<Vec<Arc<ModelInfo>>> {
        self.table.refresh(layout, now)?;
        let mut walk = Walk {
            layout,
            now,
            table: &mut self.table,
            headers: &mut self.headers,
            fresh: only.is_some(),
            taken: HashSet::with_capacity(self.listed),
            found: Vec::with_capacity(self.listed),
        };
        let only = only.map(ModelName::parts);
        let wanted = |part: usize| only.map(|parts| parts[part]);
        let path = layout.manifests();
        let root = File::open(&path)?;
        self.hosts.update(Stamp::of_file(&root)?, &path, now)?;
        for (host, namespaces) in self.hosts.named(wanted(0)) {
            let path = path.join(host);
            let Some(host_folder) = enter(&root, host, namespaces, &path, now) else {
                continue;
            };
            for (namespace, models) in namespaces.named(wanted(1)) {
                let path = path.join(namespace);
                let Some(folder) = enter(&host_folder, namespace, models, &path, now) else {
                    continue;
                };
                for (model, tags) in models.named(wanted(2)) {
                    let there = tags.look(Stamp::at(&folder, model.as_str()), || path.join(model), now);
                    if !there {
                        continue;
                    }
                    for (tag, entry) in tags.named(wanted(3)) {
                        walk.visit(entry, &folder, [host, namespace, model, tag]);
                    }
                }
            }
        }
        Ok(walk.found)
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn visit(&mut self, entry: &mut Entry, namespace: impl AsFd, parts: [&str; 4]) {
        if let Some((folded, info)) = entry.look(self, namespace, parts) {
            if self.taken.insert(Arc::clone(&folded)) {
                self.found.push(info);
            } else {
                entry.shadow(parts);
            }
        }
    }

    fn manifest(&self, parts: [&str; 4]) -> PathBuf {
        let mut path = self.layout.manifests();
        path.extend(parts);
        path
    }
}

/// Opens a folder in the tree, so that paths beneath it are short for the kernel to walk.
fn enter<T: Default>(
    base: &File,
    name: &str,
    folder: &mut Folder<T>,
    path: &std::path::Path,
    now: SystemTime,
) -> Option<File> {
    if !folder.look(Stamp::at(base, name), || path.to_owned(), now) {
        return None;
    }
    // Gone since: its models are, too.
    File::open(path).ok()
}

#[cfg(test)]
mod tests;
