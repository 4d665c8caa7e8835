//! Layout 1, as it was.

use balancer_ebpf::layout::{Binding, Times};

use super::Layout;
use crate::{dataplane::Image, kernel::table::Words};

pub(super) const LAYOUT: Layout = Layout {
    version: 1,
    globals_bytes: 200,
    bucket_bytes: 256,
    // Buckets of eight entries, each of four words.
    words: Words { entry: 4, tag: 0, binding: 1, times: 2, hash: 3, reserved: u64::MAX },
    image,
};

/// A binding was, from the lowest bit: backend (16), version (8), kind (8: 1 issued, 2 presented), generation (32). Times
/// were seconds of the boot clock: last seen in the low half, made in the high half; an entry expired when its backend's
/// idle time-out had passed since. Tags and hashes are of the same key.
fn image(old: Image, idle: &dyn Fn(u32) -> u32) -> Image {
    let bits = |from: u32, count: u32| (old.binding >> from & ((1 << count) - 1)) as u32;
    let binding = Binding::new(bits(16, 8), bits(32, 32), bits(0, 16), bits(24, 8) as u8);
    let (seen, made) = (old.times as u32, (old.times >> 32) as u32);
    let times = Times::new(seen.wrapping_add(idle(binding.backend())), made);
    Image { binding: binding.0, times: times.0, ..old }
}

#[cfg(test)]
mod tests {
    use balancer_ebpf::layout::{KIND_ISSUED, KIND_PRESENTED};

    use super::*;

    /// An entry as the programs of layout 1 wrote it: backend 0x0203 of version 4 at generation 7, seen at 0x20, made at
    /// 0x10.
    const ENTRY: [u64; 4] =
        [0x1111_2222_3333_4444, 0x0000_0007_0204_0203, 0x0000_0010_0000_0020, 0x5555_6666_7777_8888];

    #[test]
    fn an_entry_means_what_it_meant() {
        let old = LAYOUT.words.whole(|at| ENTRY[at]).unwrap();
        let image = image(old, &|backend| if backend == 0x0203 { 0x700 } else { 0 });
        let binding = Binding(image.binding);
        assert_eq!((binding.backend(), binding.version(), binding.generation()), (0x0203, 4, 7));
        assert_eq!(binding.kind(), KIND_PRESENTED);
        assert_eq!(Times(image.times), Times::new(0x720, 0x10));
        assert_eq!((image.tag, image.bucket_hash), (ENTRY[0], ENTRY[3]));
        let issued = Image { binding: 0x0000_0001_0100_0000, ..image };
        assert_eq!(Binding(super::image(issued, &|_| 0).binding).kind(), KIND_ISSUED);
    }
}
