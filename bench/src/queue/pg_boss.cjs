// A job's whole life by pg-boss, from so many loops at once: send, fetch, complete.
const PgBoss = require("pg-boss");
const [url, loops, seconds] = process.argv.slice(2);

(async () => {
  const boss = new PgBoss({ connectionString: url, max: Number(loops), supervise: false, schedule: false });
  boss.on("error", (error) => { console.error(error); process.exit(1); });
  await boss.start();
  await boss.createQueue("life");
  let done = 0;
  let stopped = false;
  const life = async () => {
    while (!stopped) {
      await boss.send("life", { a: 1 });
      let jobs = [];
      while (jobs.length === 0) {
        jobs = await boss.fetch("life");
        if (stopped && jobs.length === 0) return;
      }
      await boss.complete("life", jobs[0].id);
      done += 1;
    }
  };
  const began = process.hrtime.bigint();
  setTimeout(() => { stopped = true; }, Number(seconds) * 1000);
  await Promise.all(Array.from({ length: Number(loops) }, life));
  const took = Number(process.hrtime.bigint() - began) / 1e9;
  console.log(JSON.stringify({ done, took, version: require("pg-boss/package.json").version }));
  process.exit(0);
})();
