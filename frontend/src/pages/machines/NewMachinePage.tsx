// A new machine: name, image, flavor, time; the price of it, and what the balance allows.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Form, Input, Radio, Select } from "antd";
import { useState } from "react";
import { useNavigate } from "react-router";
import { ApiError, post } from "../../api/client";
import { machineQueries } from "../../api/machineQueries";
import { queries } from "../../api/queries";
import type { Machine, MachineOptions } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { useAction } from "../useAction";
import { EngineBanner } from "./EngineBanner";
import { FlavorChoice, flavorsFor } from "./FlavorChoice";
import { PriceFacts } from "./PriceFacts";

const HOURS = [1, 2, 4, 8, 24];
const HOUR_S = 3600;
const NAME = /^[a-z]([a-z0-9-]{0,37}[a-z0-9])?$/;

interface Wish {
  name: string;
  image: string;
  flavor: string;
  hours: number;
}

export function NewMachinePage() {
  const { text } = useWords();
  const words = text.machines.form;
  const options = useQuery(machineQueries.options());
  const mine = useQuery(machineQueries.list());
  return (
    <div className="page" style={{ maxWidth: 880 }}>
      <PageHead title={words.title} lead={text.machines.lead} />
      <EngineBanner />
      <Loaded query={options}>
        {(found) => (
          <Loaded query={mine}>
            {(list) => <MachineForm options={found} taken={list.map((one) => one.name)} />}
          </Loaded>
        )}
      </Loaded>
    </div>
  );
}

function suggestName(taken: string[]): string {
  if (!taken.includes("dev")) return "dev";
  let number = 2;
  while (taken.includes(`dev-${number}`)) number += 1;
  return `dev-${number}`;
}

/** The flavor to choose with an image: the one that is chosen where the image allows it. */
function pickFlavor(options: MachineOptions, image: string, chosen = ""): string {
  const flavors = flavorsFor(options, image);
  const kept = flavors.find((one) => one.name === chosen);
  return (kept ?? flavors.find((one) => one.is_available) ?? flavors[0])?.name ?? "";
}

function firstWish(options: MachineOptions, taken: string[]): Wish {
  const image = options.images[0]?.name ?? "";
  return { name: suggestName(taken), image, flavor: pickFlavor(options, image), hours: 4 };
}

function MachineForm({ options, taken }: { options: MachineOptions; taken: string[] }) {
  const { text } = useWords();
  const words = text.machines.form;
  const [wish, setWish] = useState<Wish>(() => firstWish(options, taken));
  const [refused, setRefused] = useState<Record<string, string>>({});
  const points = useQuery(queries.points());
  const { run, isBusy } = useAction();
  const navigate = useNavigate();
  const cache = useQueryClient();
  const change = (part: Partial<Wish>) => {
    setWish({ ...wish, ...part });
    setRefused({});
  };
  const flavor = options.flavors.find((one) => one.name === wish.flavor);
  const badName = NAME.test(wish.name) ? undefined : words.nameBad;

  const submit = () =>
    run(async () => {
      const { hours, ...rest } = wish;
      try {
        const body = { ...rest, duration_s: hours * HOUR_S };
        const made = await post<Machine>("/api/machines/", body);
        await cache.invalidateQueries({ queryKey: ["machines"] });
        await cache.invalidateQueries({ queryKey: ["points"] });
        void navigate(`/machines/${made.key}`);
      } catch (error) {
        if (error instanceof ApiError && error.body.field) {
          setRefused({ [error.body.field]: sayProblem(text, error.body) });
        }
        throw error;
      }
    });
  return (
    <Form layout="vertical" requiredMark={false} className="panel" onFinish={() => void submit()}>
      <Form.Item
        label={words.name}
        htmlFor="machine-name"
        extra={words.nameHelp}
        help={refused.name ?? badName}
        validateStatus={(refused.name ?? badName) ? "error" : undefined}
      >
        <Input
          id="machine-name"
          value={wish.name}
          maxLength={39}
          spellCheck={false}
          onChange={(event) => change({ name: event.target.value })}
        />
      </Form.Item>
      <Form.Item
        label={words.image}
        htmlFor="machine-image"
        help={refused.image}
        validateStatus={refused.image ? "error" : undefined}
      >
        {options.images.length === 0 ? (
          <span className="muted">{words.noImage}</span>
        ) : (
          <Select
            id="machine-image"
            value={wish.image}
            options={options.images.map((one) => ({
              value: one.name,
              label: one.is_mine ? words.mine(one.title) : one.title,
            }))}
            onChange={(image) => change({ image, flavor: pickFlavor(options, image, wish.flavor) })}
          />
        )}
      </Form.Item>
      <Form.Item
        label={words.flavor}
        help={refused.flavor}
        validateStatus={refused.flavor ? "error" : undefined}
      >
        <FlavorChoice
          options={options}
          image={wish.image}
          value={wish.flavor}
          onChange={(name) => change({ flavor: name })}
        />
      </Form.Item>
      <Form.Item
        label={words.duration}
        help={refused.duration_s}
        validateStatus={refused.duration_s ? "error" : undefined}
      >
        <Radio.Group
          className="machine-hours"
          aria-label={words.duration}
          optionType="button"
          value={wish.hours}
          options={HOURS.map((hours) => ({ value: hours, label: words.hours(hours) }))}
          onChange={(event) => change({ hours: Number(event.target.value) })}
        />
      </Form.Item>
      {flavor && points.data && (
        <PriceFacts
          rate={flavor.price_mpoints_per_hour}
          hours={wish.hours}
          available={points.data.available_mpoints}
        />
      )}
      <Button
        type="primary"
        size="large"
        htmlType="submit"
        loading={isBusy}
        disabled={badName !== undefined || options.images.length === 0}
      >
        {words.submit}
      </Button>
    </Form>
  );
}
