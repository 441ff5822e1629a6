/** Which methods of a class callers may use, as docs/resources.md says. */
import { expect, test } from "vitest";
import { Resource } from "../../mod.ts";
import { methodsOf } from "../../src/resource/activation_host.ts";

class Base extends Resource {
  inherited(): number {
    return 1;
  }
}

class Room extends Base {
  static shared(): number {
    return 1;
  }
  field = (): number => 1;
  get getter(): () => number {
    return () => 1;
  }
  open(): number {
    return this.#hidden() + this.typed() + this.kept() + this._marked();
  }
  private typed(): number {
    return 1;
  }
  protected kept(): number {
    return 1;
  }
  #hidden(): number {
    return 1;
  }
  _marked(): number {
    return 1;
  }
  onSomething(): number {
    return 1;
  }
  override onStart(): void {}
}

test("methods that are private only in TypeScript are callable, JavaScript's #private ones are not", () => {
  expect([...methodsOf(Room).keys()].sort()).toEqual(["inherited", "kept", "open", "typed"]);
});
