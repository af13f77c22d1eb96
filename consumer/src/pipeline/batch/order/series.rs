//! Owns the series of a batch: the beginnings of its keys, of which there are few, each with a number, and in the end
//! their order.

/// A key's first bytes, as numbers that compare as they do.
type Block = [u64; Series::WORDS];

#[derive(Debug, Default)]
pub(super) struct Series {
    /// By number.
    blocks: Vec<Block>,
    /// A hash table of the numbers, plus one; 0: free.
    table: Vec<u16>,
    /// So many series are few.
    most: usize,
    sorted: Vec<u16>,
    ranks: Vec<u16>,
}

impl Series {
    /// A text of up to 30 bytes, as keys begin with.
    pub(super) const WORDS: usize = 4;
    /// With more than so many the table outgrows the cache.
    const MOST: usize = 8192;
    /// A series that isn't found at once is looked for in so many places: hostile ones could all have the same hash.
    const PROBES: usize = 16;

    /// Forgets all; there will be so many keys.
    pub(super) fn clear(&mut self, keys: usize) {
        self.blocks.clear();
        self.most = (keys / 2).clamp(16, Self::MOST);
        self.table.clear();
        self.table.resize((4 * self.most).next_power_of_two(), 0);
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The number of a series; `None` when there are too many for this to pay.
    #[inline]
    pub(super) fn number(&mut self, block: Block) -> Option<u16> {
        let mask = self.table.len() - 1;
        let start = hash(&block);
        for probe in 0..Self::PROBES {
            let slot = &mut self.table[(start + probe) & mask];
            let Some(number) = slot.checked_sub(1) else {
                if self.blocks.len() == self.most {
                    return None;
                }
                self.blocks.push(block);
                *slot = u16::try_from(self.blocks.len()).ok()?;
                return Some(*slot - 1);
            };
            if self.blocks[usize::from(number)] == block {
                return Some(number);
            }
        }
        None
    }

    /// Of each series, by its number, how many come before it.
    pub(super) fn ranks(&mut self) -> &[u16] {
        let numbers = 0..u16::try_from(self.blocks.len()).unwrap_or(u16::MAX);
        self.sorted.clear();
        self.sorted.extend(numbers.clone());
        self.sorted
            .sort_unstable_by_key(|&number| &self.blocks[usize::from(number)]);
        self.ranks.clear();
        self.ranks.resize(self.blocks.len(), 0);
        for (&number, rank) in self.sorted.iter().zip(numbers) {
            self.ranks[usize::from(number)] = rank;
        }
        &self.ranks
    }
}

/// Of all bits of a block: its words differ in few.
#[inline]
fn hash(block: &Block) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = block.iter().fold(0_u64, |hash, word| {
        (hash.rotate_left(23) ^ word).wrapping_mul(SPREAD)
    });
    (mixed >> 32) as usize
}
