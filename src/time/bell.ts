/** A bell: rings once for all who wait for it then. */
export class Bell {
  #ring: (() => void) | null = null;

  /** Resolves when it rings next. */
  heard(): Promise<void> {
    const others = this.#ring;
    return new Promise((resolve) => (this.#ring = () => (others?.(), resolve())));
  }

  ring(): void {
    const ring = this.#ring;
    this.#ring = null;
    ring?.();
  }
}
