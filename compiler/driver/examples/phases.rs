//! scratch: time of each phase of a model's training step
use dlc_driver::{Target, lower, model};
use dlc_exec::{Gang, Memory, MemoryLayout, Persistent, Program, Workspace, WorkspaceOptions};
use std::time::Instant;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let target = Target::from_name("native").unwrap();
    let threads: usize = a.get(2).map_or(1, |s| s.parse().unwrap());
    let e = model::elaborate_file(std::path::Path::new(&a[1]), None).unwrap();
    let batch = model::batch_of(&e, None).unwrap();
    let g = model::ModelGraphs::freeze(&e, false).unwrap();
    let t = g.train.unwrap();
    let desc = target.backends().unwrap().kernels.target();
    let mut tile = lower::to_tile(&t, batch, &desc).unwrap();
    if std::env::var("DUMP").is_ok() {
        println!("{tile}");
    }
    let mut segs = vec![];
    for seg in &tile.segments {
        for (i, ph) in seg.phases.iter().enumerate() {
            let mut ph = ph.clone();
            ph.barrier_before = false;
            let s = &ph.schedule;
            let ext: Vec<String> = ph.axes.iter().map(|d| d.at(batch).to_string()).collect();
            let n = format!(
                "{:?}.{i} {} [{} | {}] units {:?} lanes {:?}x{} rows {:?}x{} {}",
                seg.kind,
                ph.name,
                ext[..ph.n_space].join(","),
                ext[ph.n_space..].join(","),
                s.units.iter().map(|u| (u.axis, u.tile)).collect::<Vec<_>>(),
                s.lane_axis,
                s.vectors,
                s.row_axis,
                s.rows,
                s.serial
            );
            segs.push(dlc_ir::tile::Segment { name: n, kind: seg.kind, phases: vec![ph] });
        }
    }
    tile.segments = segs;
    let v = dlc_passes::vectorize::run(&tile, &desc).unwrap();
    let b = target.backends().unwrap();
    let (program, _c) = dlc_codegen::load(
        &v.module,
        std::sync::Arc::new(v.manifest),
        v.updates,
        b.kernels.as_ref(),
        b.drivers.as_ref(),
    )
    .unwrap();
    let program = Program::load(program).unwrap();
    let layout = MemoryLayout::of(&[program.manifest()]).unwrap();
    let gang = Gang::new(threads).unwrap();
    let mut ws = Workspace::new(
        &program,
        &layout,
        WorkspaceOptions { parts: threads, ..Default::default() },
    )
    .unwrap();
    let mut mem = Memory::new(&layout).unwrap();
    let mut st = 1u32;
    let mut rnd = || {
        st = st.wrapping_mul(1664525).wrapping_add(1013904223);
        ((st >> 8) as f32 / 8388608.0 - 1.0) * 0.05
    };
    for d in program.manifest().buffers.clone() {
        let n: i64 = d.shape.iter().map(|d| d.at(batch)).product();
        let v: Vec<f32> = (0..n).map(|_| rnd()).collect();
        match d.role {
            dlc_abi::BufferRole::Param => mem.set(&d.name, &v).unwrap(),
            dlc_abi::BufferRole::Input if d.elem == dlc_abi::ElemType::F32 => {
                ws.set_input(&d.name, batch as usize, &v).unwrap()
            }
            _ => {}
        }
    }
    for i in 0..3 {
        let _ = i;
        ws.run(Persistent::Exclusive(&mut mem), batch as usize, &gang, program.all_segments())
            .unwrap();
    }
    let mut total = 0.0;
    for (i, s) in program.manifest().segments.clone().iter().enumerate() {
        let mut ts = vec![];
        for _ in 0..30 {
            let t = Instant::now();
            ws.run(Persistent::Exclusive(&mut mem), batch as usize, &gang, i..i + 1).unwrap();
            ts.push(t.elapsed().as_secs_f64() * 1e6);
        }
        ts.sort_by(f64::total_cmp);
        total += ts[0];
        if ts[0] > 20.0 {
            println!("{:9.1} µs {}", ts[0], s.symbol);
        }
    }
    println!("total {total}");
}
