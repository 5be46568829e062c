// What is done to a machine seldom: restart, reset, another flavor or name, its image, its clone, the end.

import { useQuery } from "@tanstack/react-query";
import { Button, Dropdown, Modal, Select } from "antd";
import { useRef, useState } from "react";
import { useNavigate } from "react-router";
import { patch, post } from "../../api/client";
import { machineQueries } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayFlavor } from "../../i18n/told";
import { MoreOutlined } from "../../widgets/icons";
import { flavorsFor } from "./FlavorChoice";
import { NameDialog } from "./NameDialog";
import { useMachineDeeds } from "./useMachineDeeds";

export function MoreMenu({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines;
  const navigate = useNavigate();
  const deeds = useMachineDeeds(machine, async () => navigate("/machines"));
  const button = useRef<HTMLButtonElement>(null);
  const [asked, setAsked] = useState<"name" | "flavor" | "save" | "clone" | null>(null);
  const isStopped = machine.status === "stopped";
  const isSaving = machine.saving?.ended_at === null;
  const canSave =
    !isSaving &&
    machine.node !== null &&
    machine.reason !== "container_gone" &&
    (isStopped || machine.status === "running");
  const close = () => setAsked(null);
  return (
    <>
      <Dropdown
        trigger={["click"]}
        menu={{
          // What asks gives the keyboard back to what had it, and the menu is not there any more.
          onClick: () => button.current?.focus(),
          items: [
            {
              key: "restart",
              label: words.restart,
              disabled: machine.status !== "running",
              onClick: deeds.restart,
            },
            {
              key: "reset",
              label: words.reset,
              disabled: !isStopped || isSaving,
              onClick: deeds.reset,
            },
            {
              key: "change",
              label: words.change,
              disabled: !isStopped || isSaving,
              onClick: () => setAsked("flavor"),
            },
            { key: "rename", label: words.rename, onClick: () => setAsked("name") },
            { type: "divider" },
            {
              key: "save",
              label: words.saved.menu,
              disabled: !canSave,
              onClick: () => setAsked("save"),
            },
            {
              key: "clone",
              label: words.clone.clone,
              disabled: isSaving || (!isStopped && machine.status !== "running"),
              onClick: () => setAsked("clone"),
            },
            { type: "divider" },
            { key: "remove", label: words.remove, danger: true, onClick: deeds.remove },
          ],
        }}
      >
        <Button ref={button} icon={<MoreOutlined />}>
          {words.more}
        </Button>
      </Dropdown>
      {asked === "name" && <RenameDialog machine={machine} onClose={close} />}
      {asked === "save" && <SaveDialog machine={machine} onClose={close} />}
      {asked === "clone" && <CloneDialog machine={machine} onClose={close} />}
      <FlavorDialog machine={machine} isOpen={asked === "flavor"} onClose={close} />
    </>
  );
}

interface DialogProps {
  machine: Machine;
  onClose: () => void;
}

function RenameDialog({ machine, onClose }: DialogProps) {
  const { text } = useWords();
  const words = text.machines;
  return (
    <NameDialog
      machine={machine}
      onClose={onClose}
      id="machine-rename"
      title={words.renameTitle}
      label={words.form.name}
      okText={words.rename}
      initial={machine.name}
      work={async (name) => void (await patch(`/api/machines/${machine.key}/`, { name }))}
    />
  );
}

function SaveDialog({ machine, onClose }: DialogProps) {
  const { text } = useWords();
  const words = text.machines.saved;
  return (
    <NameDialog
      machine={machine}
      onClose={onClose}
      id="machine-save"
      title={words.ask(machine.name)}
      lead={machine.status === "running" ? words.askRunning : words.askText}
      label={words.col.name}
      okText={words.save}
      initial={`${machine.name.slice(0, 33)}-image`}
      work={async (name) => void (await post(`/api/machines/${machine.key}/save/`, { name }))}
    />
  );
}

function CloneDialog({ machine, onClose }: DialogProps) {
  const { text, format, language } = useWords();
  const words = text.machines.clone;
  const navigate = useNavigate();
  const price = text.pointsPerHour(format.points(machine.flavor.price_mpoints_per_hour));
  return (
    <NameDialog
      machine={machine}
      onClose={onClose}
      id="machine-clone"
      title={words.ask(machine.name)}
      lead={words.text(sayFlavor(language, machine.flavor.title), price)}
      label={text.machines.form.name}
      okText={words.clone}
      initial={`${machine.name.slice(0, 36)}-2`}
      work={async (name) => {
        const made = await post<Machine>(`/api/machines/${machine.key}/clone/`, { name });
        void navigate(`/machines/${made.key}`);
      }}
    />
  );
}

function FlavorDialog({ machine, isOpen, onClose }: DialogProps & { isOpen: boolean }) {
  const { text, format, language } = useWords();
  const words = text.machines;
  const { change, isBusy } = useMachineDeeds(machine);
  const options = useQuery({ ...machineQueries.options(), enabled: isOpen });
  const [flavor, setFlavor] = useState(machine.flavor.name);
  const apply = async () => {
    if (await change(flavor)) onClose();
  };
  return (
    <Modal
      open={isOpen}
      title={words.changeTitle}
      okText={words.change}
      confirmLoading={isBusy}
      onCancel={onClose}
      onOk={() => void apply()}
    >
      <p className="muted">{words.changeText}</p>
      <Select
        aria-label={words.changeTitle}
        style={{ width: "100%" }}
        value={flavor}
        onChange={setFlavor}
        options={(options.data ? flavorsFor(options.data, machine.image.name) : []).map((one) => ({
          value: one.name,
          disabled: !one.is_available,
          label: `${sayFlavor(language, one.title)} · ${text.pointsPerHour(format.points(one.price_mpoints_per_hour))}`,
        }))}
      />
    </Modal>
  );
}
