use dpfw_guest::{MethodCall, resident};

dpfw_guest::module!(b"\0asm\x01\0\0\0");

struct Opaque;

struct Keeper;

#[resident]
impl Keeper {
    pub fn new(opaque: Opaque) -> Result<Self, Opaque> {
        Err(opaque)
    }

    pub fn count(&mut self, by: i64) -> i64 {
        by
    }

    pub fn save(&self) -> Opaque {
        Opaque
    }

    pub fn load(state: Opaque) -> Self {
        let _ = state;
        Self
    }
}

fn main() {
    let _: MethodCall<Keeper, u8> = keeper::count(1);
    let _ = keeper::save();
    let _ = keeper::load(Opaque);
}
