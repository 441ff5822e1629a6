/**
 * Builds a container image without a container engine.
 *
 * Takes a Dockerfile and its context; carries out the steps of the stages that the image needs in
 * folders that represent their file systems, and gives the command, its user, folder and variables.
 * Base images are empty folders: the caller provides their content. Knows only the instructions
 * that the Dockerfile of this repository uses, and refuses any other.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve, sep } from "node:path";

/** A built image. */
export interface Image {
  /** The folder that represents `/`. */
  readonly root: string;
  workdir: string;
  env: Record<string, string>;
  /** `uid:gid`; empty: root. */
  user: string;
  entrypoint: string[];
  command: string[];
  healthcheck: string[];
  stopSignal: string;
  ports: string[];
}

export interface Instruction {
  readonly name: string;
  /** The text after the name and its flags. */
  readonly text: string;
  readonly flags: Readonly<Record<string, string>>;
}

interface Stage {
  readonly from: string;
  readonly steps: readonly Instruction[];
}

/** A Dockerfile's instructions in order. */
export function parseDockerfile(text: string): Instruction[] {
  const whole = text.split("\n").filter((line) => !/^\s*#/.test(line)).join("\n");
  return whole.replace(/\\\n\s*/g, "").split("\n").filter((line) => line.trim() !== "").map(
    (line) => {
      const [, name = "", rest = ""] = /^(\S+)\s+(.*)$/.exec(line.trim()) ?? [];
      const flags: Record<string, string> = {};
      const words = rest.replace(/(?:^|(?<=\s))--([a-z-]+)=(\S+)\s+/g, (_, flag, value) => {
        flags[flag] = value;
        return "";
      });
      return { name, flags, text: words.trim() };
    },
  );
}

/** The words of an instruction in exec form; an error if it would need a shell. */
export function execForm(text: string): string[] {
  let words: unknown;
  try {
    words = JSON.parse(text);
  } catch {
    throw new Error(`not in exec form, so signals would reach a shell: ${text}`);
  }
  if (Array.isArray(words) && words.every((word) => typeof word === "string")) return words;
  throw new Error(`not in exec form: ${text}`);
}

/** The base images that a Dockerfile names. */
export function baseImages(instructions: readonly Instruction[]): string[] {
  const { stages } = stagesOf(instructions, {});
  return [...stages.values()].map(({ from }) => from).filter((from) => !stages.has(from));
}

export interface BuildOptions {
  /** Holds the Dockerfile, .dockerignore and all that is copied. */
  context: string;
  /** The parent of the stages' folders. */
  folder: string;
  /** Values for the Dockerfile's arguments, in place of their defaults. */
  args?: Record<string, string>;
  /** Variables of the programs that build it. */
  env: Record<string, string>;
  /** Stages already built in `folder`, like an engine's cache; newly built ones are added. */
  built?: Map<string, Image>;
}

/** Carries out the last stage, and those that it needs. */
export function buildImage(options: BuildOptions): Image {
  const { context, folder, args = {}, env, built = new Map<string, Image>() } = options;
  const { stages, last } = stagesOf(
    parseDockerfile(readFileSync(join(context, "Dockerfile"), "utf8")),
    args,
  );
  const sends = contextOf(context);

  function build(name: string): Image {
    const stage = stages.get(name);
    const done = built.get(name);
    if (done) return done;
    const base = stage && build(stage.from);
    const image: Image = {
      ...base ?? NOTHING,
      root: join(
        folder,
        name === last ? `image_${Object.values(args).join("_")}` : name.replace(/\W+/g, "_"),
      ),
      env: { ...base?.env },
      ports: [...base?.ports ?? []],
    };
    mkdirSync(image.root, { recursive: true });
    if (base) cpSync(base.root, image.root, { recursive: true, verbatimSymlinks: true });
    for (const step of stage?.steps ?? []) apply(step, image);
    if (name !== last) built.set(name, image);
    return image;
  }

  function apply(step: Instruction, image: Image): void {
    const { name, text } = step;
    switch (name) {
      case "WORKDIR":
        image.workdir = text;
        return void mkdirSync(image.root + text, { recursive: true });
      case "COPY":
        return copy(step, image);
      case "RUN": {
        const [program, ...words] = execForm(text) as [string, ...string[]];
        const cwd = image.root + image.workdir;
        execFileSync(program, words, { cwd, env: { ...image.env, ...env }, stdio: "pipe" });
        return;
      }
      case "ENV": {
        const [, variable = "", value = ""] = /^(\w+)=(\S*)$/.exec(text) ?? [];
        return void (image.env[variable] = value);
      }
      case "ENTRYPOINT":
        image.entrypoint = execForm(text);
        return;
      case "CMD":
        image.command = execForm(text);
        return;
      case "HEALTHCHECK":
        image.healthcheck = execForm(text.replace(/^CMD\s+/, ""));
        return;
      case "USER":
        image.user = text;
        return;
      case "STOPSIGNAL":
        image.stopSignal = text;
        return;
      case "EXPOSE":
        return void image.ports.push(text);
      default:
        throw new Error(`the Dockerfile has ${name}, which is not played here`);
    }
  }

  function copy({ text, flags }: Instruction, image: Image): void {
    const words = text.split(/\s+/);
    const target = words.pop() as string;
    const other = flags["from"];
    for (const word of words) {
      const from = other === undefined ? join(context, word) : build(other).root + resolve(word);
      const into = resolve(image.workdir, target, target.endsWith("/") ? word : "");
      if (other === undefined && !sends(from)) {
        throw new Error(`.dockerignore keeps ${word} out of the image`);
      }
      cpSync(from, image.root + into, {
        recursive: true,
        verbatimSymlinks: true,
        filter: (path) => other !== undefined || sends(path),
      });
    }
  }

  return build(last);
}

const NOTHING: Omit<Image, "root"> = {
  workdir: "/",
  env: {},
  user: "",
  entrypoint: [],
  command: [],
  healthcheck: [],
  stopSignal: "SIGTERM",
  ports: [],
};

function stagesOf(
  instructions: readonly Instruction[],
  args: Record<string, string>,
): { stages: Map<string, Stage>; last: string } {
  const values: Record<string, string> = {};
  const stages = new Map<string, { from: string; steps: Instruction[] }>();
  let last = "";
  for (const step of instructions) {
    if (step.name === "FROM") {
      const [from = "", , name] = step.text.split(/\s+/);
      last = name ?? "the image";
      stages.set(last, {
        from: from.replace(/\$\{(\w+)\}/g, (_, it) => values[it] ?? ""),
        steps: [],
      });
    } else if (step.name === "ARG" && last === "") {
      const [name = "", value = ""] = step.text.split("=");
      values[name] = args[name] ?? value;
    } else {
      stages.get(last)?.steps.push(step);
    }
  }
  return { stages, last };
}

/** Whether .dockerignore, which is a list of allowed paths, allows a path. */
function contextOf(context: string): (path: string) => boolean {
  const lines = readFileSync(join(context, ".dockerignore"), "utf8").split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"));
  if (lines[0] !== "*" || lines.slice(1).some((line) => !/^![^*?[\]]+$/.test(line))) {
    throw new Error(
      '.dockerignore must be "*", and then a line "!path" for each path that is sent',
    );
  }
  const sent = lines.slice(1).map((line) => resolve(context, line.slice(1)));
  return (path) => sent.some((one) => path === one || path.startsWith(one + sep));
}
