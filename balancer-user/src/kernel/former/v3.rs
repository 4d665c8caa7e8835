//! Layout 3, as it was.

use balancer_ebpf::layout::{Binding, Times};

use super::Layout;
use crate::{dataplane::Image, kernel::table::Words};

pub(super) const LAYOUT: Layout = Layout {
    version: 3,
    globals_bytes: 200,
    bucket_bytes: 256,
    // Buckets of eight entries, each of four words.
    words: Words { entry: 4, tag: 0, binding: 1, times: 2, hash: 3, reserved: u64::MAX },
    image,
};

/// A binding was, from the lowest bit: backend (16), version (8), kind (8: 1 issued, 2 presented, 3 renamed, 4 adopted),
/// generation (32). Times were seconds of the boot clock: the last one that counts in the low half, when the entry was made in
/// the high half. Tags and hashes are of the same key.
fn image(old: Image, _: &dyn Fn(u32) -> u32) -> Image {
    let bits = |from: u32, count: u32| (old.binding >> from & ((1 << count) - 1)) as u32;
    let binding = Binding::new(bits(16, 8), bits(32, 32), bits(0, 16), bits(24, 8) as u8);
    let times = Times::new(old.times as u32, (old.times >> 32) as u32);
    Image { binding: binding.0, times: times.0, ..old }
}

#[cfg(test)]
mod tests {
    use balancer_ebpf::layout::KIND_RENAMED;

    use super::*;

    /// An entry as the programs of layout 3 wrote it: renamed, of backend 0x0203 of version 4 at generation 7, until 0x20, made
    /// at 0x10.
    const ENTRY: [u64; 4] =
        [0x1111_2222_3333_4444, 0x0000_0007_0304_0203, 0x0000_0010_0000_0020, 0x5555_6666_7777_8888];

    #[test]
    fn an_entry_means_what_it_meant() {
        let image = image(LAYOUT.words.whole(|at| ENTRY[at]).unwrap(), &|_| 0);
        let binding = Binding(image.binding);
        assert_eq!((binding.backend(), binding.version(), binding.generation()), (0x0203, 4, 7));
        assert_eq!(binding.kind(), KIND_RENAMED);
        assert_eq!(Times(image.times), Times::new(0x20, 0x10));
        assert_eq!((image.tag, image.bucket_hash), (ENTRY[0], ENTRY[3]));
    }
}
