//! Fuzz target: what requests and responses do to the session table, beside a `HashMap`.

use std::array;
use std::cell::Cell;
use std::collections::HashMap;

use balancer_ebpf::host::Machine;
use balancer_ebpf::http::{Scan, Scanned, scan_request, scan_response};
use balancer_ebpf::layout::{
    Address, BUCKET_WAYS, Binding, Bucket, Buffer, Entry, FAMILIES, Globals, KIND_ADOPTED, KIND_ISSUED, KIND_PRESENTED,
    KIND_RENAMED, Key, MAX_SOURCES, SessionHash,
};
use balancer_ebpf::sessions::{Bound, Shelf, Table, bind, forget, present, rename, term, touch};
use balancer_ebpf::sip::session_hash;

use crate::Plain;
use crate::stream::rule;

/// Few, so that they are full now and then.
const BUCKETS: usize = 4;
/// Seconds after which a binding expires.
const IDLE: u32 = 60;
/// Seconds for which the former id of a renamed session stays.
const GRACE: u32 = 20;

struct Sessions {
    buckets: [Bucket; BUCKETS],
    globals: Globals,
    shelf: Shelf,
    /// What is bound, and when it expires.
    model: HashMap<Vec<u8>, (Binding, u32)>,
    /// The id that the last request presented: what responses rename and delete.
    presented: Option<Vec<u8>>,
    now: u32,
}

impl Machine for Sessions {
    type Cpu = Plain;
}

impl Table for Sessions {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.buckets.get(index as usize)
    }
}

/// Each record: what it is, how many bytes of a head follow, and these; heads are put around what a fuzzer finds.
pub fn check(data: &[u8]) {
    let mut sessions = Sessions::new();
    let mut rest = data;
    while let [what, len, behind @ ..] = rest {
        let (text, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        match what % 8 {
            0 | 1 => sessions.response(text, u32::from(what >> 3)),
            2..=4 => sessions.request(text),
            5 => sessions.adopt(u32::from(what >> 3)),
            6 => sessions.touch(),
            _ => sessions.now += u32::from(what >> 1),
        }
        sessions.consistent();
    }
}

impl Sessions {
    fn new() -> Self {
        let entry =
            |_| Entry { tag: Cell::new(0), binding: Cell::new(0), times: Cell::new(0), bucket_hash: Cell::new(0) };
        let key = Key { k0: 1, k1: 2 };
        Self {
            buckets: array::from_fn(|_| Bucket { entries: array::from_fn(entry) }),
            globals: Globals {
                session_key: key,
                cookie_key: key,
                isn_key: key,
                flows: 0,
                stashes: 0,
                bucket_mask: BUCKETS as u32 - 1,
                source_count: [0; FAMILIES],
                flow_idle_seconds: 0,
                sources: [[Address::NONE; MAX_SOURCES]; FAMILIES],
            },
            shelf: Shelf::default(),
            model: HashMap::new(),
            presented: None,
            now: 1000,
        }
    }

    /// A response of `backend` whose fields are `text`: its id is bound and the presented one renamed, or that is forgotten.
    fn response(&mut self, text: &[u8], backend: u32) {
        let bytes = [b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=", text, b"\r\n\r\n"].concat();
        let (mut scan, mut buffer) = (Scan::new(), Box::new(Buffer::new()));
        buffer.fill(0, &bytes);
        let len = bytes.len() as u32;
        if scan_response::<Plain>(&mut scan, &buffer, len, &rule()) != Scanned::Complete {
            return;
        }
        let span = scan.head.set_id;
        if span.len == 0 {
            // Nothing but a deletion leaves a response without an id, or one that is too long to be anybody's.
            assert!(scan.head.deletes != 0 || text.len() > 128);
            if scan.head.deletes != 0 {
                self.delete();
            }
            return;
        }
        assert_eq!(scan.head.deletes, 0, "the last one of the name counts");
        let id = bytes[span.pos as usize..][..span.len as usize].to_vec();
        assert!(id.len() <= 128 && !id.contains(&b';') && !id.contains(&b'\r'));
        let hash = session_hash(self.globals.session_key, 0, &buffer, span);
        let binding = Binding::new(1, 2, backend, KIND_ISSUED);
        let before = self.tags();
        let presented = self.find(&hash).map(|entry| Binding(entry.binding.get()).kind());
        let presented = matches!(presented, Some(KIND_PRESENTED | KIND_RENAMED));
        let bound = bind(self, &self.globals, &hash, binding.0, term(self.now, IDLE), &self.shelf);
        let after = self.tags();
        match bound {
            Bound::New => assert!(after.contains(&hash.tag) && !before.contains(&hash.tag)),
            Bound::Changed => assert_eq!(before, after),
            Bound::Evicted => self.evicted(KIND_ISSUED, &before, &after),
            Bound::Full => {
                assert_eq!(before, after);
                assert!(!before.contains(&hash.tag), "a known id has its entry");
                return;
            }
        }
        let kept = if presented { binding.presented() } else { binding };
        self.model.insert(id.clone(), (kept, self.now + IDLE));
        self.sweep();
        self.rename(&id);
    }

    /// The presented id keeps its place for a while, if it is another one than the session has now.
    fn rename(&mut self, new: &[u8]) {
        let Some(old) = self.presented.clone().filter(|old| old != new) else { return };
        let hash = self.hash(&old);
        let renamed = rename(self, &self.globals, &hash, term(self.now, GRACE), &self.shelf);
        let end = self.now + GRACE;
        match self.model.get_mut(&old) {
            Some((binding, expires)) if binding.kind() != KIND_RENAMED => {
                assert!(renamed);
                (*binding, *expires) = (binding.with_kind(KIND_RENAMED), end.min(*expires));
            }
            _ => assert!(!renamed, "unknown, or renamed before"),
        }
    }

    /// Forgets the presented id.
    fn delete(&mut self) {
        let Some(id) = self.presented.clone() else { return };
        let hash = self.hash(&id);
        let known = self.find(&hash).is_some();
        assert_eq!(forget(self, &self.globals, &hash, &self.shelf), known);
        self.model.remove(&id);
    }

    /// The presented id, which nobody knows, is adopted by a version (C9).
    fn adopt(&mut self, backend: u32) {
        let Some(id) = self.presented.clone().filter(|id| !self.model.contains_key(id)) else { return };
        let hash = self.hash(&id);
        let (before, expired) = (self.tags(), self.find(&hash).map(|entry| Binding(entry.binding.get()).kind()));
        let binding = Binding::new(1, 2, backend, KIND_ADOPTED);
        let bound = bind(self, &self.globals, &hash, binding.0, term(self.now, IDLE), &self.shelf);
        let after = self.tags();
        match bound {
            Bound::New => assert!(after.contains(&hash.tag) && !before.contains(&hash.tag)),
            Bound::Changed => assert!(before == after && expired.is_some()),
            Bound::Evicted => self.evicted(KIND_ADOPTED, &before, &after),
            Bound::Full => {
                assert_eq!(before, after);
                return;
            }
        }
        let kept = match expired {
            None | Some(KIND_ADOPTED) => binding,
            Some(KIND_ISSUED) => binding.with_kind(KIND_ISSUED),
            Some(_) => binding.presented(),
        };
        self.model.insert(id, (kept, self.now + IDLE));
        self.sweep();
    }

    /// The response to the last request has ended: its session begins to be idle now, unless it has another id.
    fn touch(&mut self) {
        let Some(id) = self.presented.clone() else { return };
        let hash = self.hash(&id);
        touch(self, &self.globals, &hash, term(self.now, IDLE), &self.shelf);
        let Some(binding) = self.find(&hash).map(|entry| Binding(entry.binding.get())) else { return };
        if binding.kind() != KIND_RENAMED {
            // Also one that had expired.
            self.model.insert(id, (binding, self.now + IDLE));
        }
    }

    /// Only an id that nobody presented gives way, and only one; to an adopted one only another of its kind.
    fn evicted(&mut self, kind: u8, before: &[u64], after: &[u64]) {
        let gone: Vec<_> = before.iter().filter(|tag| !after.contains(tag)).collect();
        assert_eq!((gone.len(), before.len()), (1, after.len()));
        let victim = self.model.iter().find(|(id, _)| self.hash(id).tag == *gone[0]);
        let (id, binding) = victim.map(|(id, (binding, _))| (id.clone(), *binding)).expect("an entry is somebody's");
        assert!(binding.kind() == KIND_ADOPTED || (kind == KIND_ISSUED && binding.kind() == KIND_ISSUED));
        self.model.remove(&id);
    }

    /// A request with cookies.
    fn request(&mut self, text: &[u8]) {
        let bytes = [b"GET / HTTP/1.1\r\nCookie: JSESSIONID=", text, b"\r\n\r\n"].concat();
        let (mut scan, mut buffer) = (Scan::new(), Box::new(Buffer::new()));
        buffer.fill(0, &bytes);
        let len = bytes.len() as u32;
        if scan_request::<Plain>(&mut scan, &buffer, len, &rule()) != Scanned::Complete {
            return;
        }
        let head = scan.head;
        for span in &head.ids[..head.id_count as usize] {
            let id = bytes[span.pos as usize..][..span.len as usize].to_vec();
            let hash = session_hash(self.globals.session_key, 0, &buffer, *span);
            let found = present(self, &self.globals, &hash, term(self.now, IDLE), &self.shelf);
            self.sweep();
            self.presented = Some(id.clone());
            let end = self.now + IDLE;
            match self.model.get_mut(&id) {
                Some((binding, expires)) => {
                    assert_eq!(found.first, binding.kind() == KIND_ISSUED);
                    if binding.kind() != KIND_RENAMED {
                        (*binding, *expires) = (binding.presented(), end);
                    }
                    assert_eq!(found.binding, binding.0, "the last issuer's");
                }
                None => assert_eq!((found.binding, found.first), (0, false), "known nowhere"),
            }
        }
    }

    /// Takes what has expired out of the model.
    fn sweep(&mut self) {
        let now = self.now;
        self.model.retain(|_, (_, expires)| now <= *expires);
    }

    fn hash(&self, id: &[u8]) -> SessionHash {
        balancer_ebpf::sip::hash_id(self.globals.session_key, 0, id)
    }

    fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        let of = |(index, bucket)| -> [(u32, &Entry); BUCKET_WAYS] {
            let bucket: &Bucket = bucket;
            array::from_fn(|way| (index as u32, &bucket.entries[way]))
        };
        self.buckets.iter().enumerate().flat_map(of).filter(|(_, entry)| entry.tag.get() != 0)
    }

    fn find(&self, hash: &SessionHash) -> Option<&Entry> {
        self.entries().map(|(_, entry)| entry).find(|entry| entry.tag.get() == hash.tag)
    }

    fn tags(&self) -> Vec<u64> {
        let mut tags: Vec<_> = self.entries().map(|(_, entry)| entry.tag.get()).collect();
        tags.sort_unstable();
        tags
    }

    /// No id has two entries, each lies in one of its buckets, and what the model has is there.
    fn consistent(&self) {
        let tags = self.tags();
        assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "an id with two entries");
        for (index, entry) in self.entries() {
            let bucket = entry.bucket_hash.get();
            let mask = self.globals.bucket_mask;
            assert!(index == bucket as u32 & mask || index == (bucket >> 32) as u32 & mask);
        }
        for (id, (binding, expires)) in &self.model {
            if self.now > *expires {
                continue;
            }
            let entry = self.find(&self.hash(id)).unwrap_or_else(|| panic!("{} is lost", id.escape_ascii()));
            assert_eq!(entry.binding.get(), binding.0);
        }
    }
}
