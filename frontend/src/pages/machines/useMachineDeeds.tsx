// What can be done with a machine, with the question that goes before what loses something.

import { App } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { post, remove } from "../../api/client";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useAction } from "../useAction";

export function useMachineDeeds(machine: Machine, leave?: () => Promise<void>) {
  const { text } = useWords();
  const words = text.machines;
  const { modal } = App.useApp();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const base = `/api/machines/${machine.key}/`;

  const renew = async () => {
    await cache.invalidateQueries({ queryKey: ["machines"] });
    await cache.invalidateQueries({ queryKey: ["points"] });
  };
  const send = (deed: string, body: unknown = {}) =>
    run(async () => {
      await post(`${base}${deed}/`, body);
      await renew();
    });
  const ask = (title: string, content: string, okText: string, work: () => Promise<unknown>) =>
    modal.confirm({ title, content, okText, okButtonProps: { danger: true }, onOk: work });

  return {
    isBusy,
    run,
    renew,
    start: (duration_s?: number) => send("start", duration_s ? { duration_s } : {}),
    extend: (duration_s: number) => send("extend", { duration_s }),
    keep: (duration_s: number) => send("keep", { duration_s }),
    stop: () => ask(words.stopTitle(machine.name), words.stopText, words.stop, () => send("stop")),
    restart: () =>
      ask(words.restartTitle(machine.name), words.restartText, words.restart, () =>
        send("restart"),
      ),
    reset: () =>
      ask(words.resetTitle(machine.name), words.resetText, words.reset, () => send("reset")),
    change: (flavor: string) => send("change", { flavor }),
    remove: () =>
      ask(words.removeTitle(machine.name), words.removeText, words.remove, () =>
        run(async () => {
          await leave?.(); // first: what a page of it asks for is not there any more
          await remove(base);
          await renew();
        }, words.removed),
      ),
  };
}
