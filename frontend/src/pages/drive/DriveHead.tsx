// The head of the drive: where one is, new folder, uploads, search, and how full it is.

import { Breadcrumb, Button, Input, Tabs } from "antd";
import { useEffect, useRef, useState } from "react";
import { findInterrupted } from "../../api/tusUpload";
import { useWords } from "../../i18n";
import type { NewFile } from "../../stores/uploadStore";
import { FolderAddOutlined, UploadOutlined } from "../../widgets/icons";
import { PageHead } from "../../widgets/PageHead";
import { readPicked } from "./droppedFiles";
import { QuotaBar } from "./QuotaBar";

interface Props {
  view: string;
  onView: (view: string) => void;
  onFiles: (files: NewFile[]) => void;
  onNewFolder: () => void;
}

export function DriveHead({ view, onView, onFiles, onNewFolder }: Props) {
  const { text } = useWords();
  const words = text.drive;
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const pick = (input: HTMLInputElement) => {
    if (input.files?.length) onFiles(readPicked(input.files));
    input.value = "";
  };
  return (
    <>
      <PageHead
        title={words.title}
        lead={words.lead}
        actions={
          <>
            <Button icon={<FolderAddOutlined />} onClick={onNewFolder}>
              {words.newFolder}
            </Button>
            <Button icon={<UploadOutlined />} onClick={() => folder.current?.click()}>
              {words.uploadFolder}
            </Button>
            <Button type="primary" icon={<UploadOutlined />} onClick={() => files.current?.click()}>
              {words.upload}
            </Button>
          </>
        }
      />
      <input
        ref={files}
        type="file"
        multiple
        hidden
        data-testid="pick-files"
        onChange={(event) => pick(event.target)}
      />
      <input
        ref={folder}
        type="file"
        hidden
        data-testid="pick-folder"
        {...{ webkitdirectory: "" }}
        onChange={(event) => pick(event.target)}
      />
      <div className="row between">
        <Tabs
          activeKey={view || "files"}
          onChange={(key) => onView(key === "files" ? "" : key)}
          items={[
            { key: "files", label: words.list },
            { key: "trash", label: words.trash },
            { key: "shares", label: words.shares },
          ]}
        />
        <QuotaBar />
      </div>
    </>
  );
}

export function InterruptedNote() {
  const { text } = useWords();
  const words = text.drive.uploads;
  const [left, setLeft] = useState<Awaited<ReturnType<typeof findInterrupted>> | null>(null);
  useEffect(() => {
    void findInterrupted().then(setLeft);
  }, []);
  if (!left?.num) return null;
  return (
    <div className="row between drive-bar" role="status">
      <span>{words.interrupted(left.num)}</span>
      <Button size="small" onClick={() => void left.forget().then(() => setLeft(null))}>
        {words.forget}
      </Button>
    </div>
  );
}

interface PathProps {
  path: string;
  words: string;
  onOpen: (path: string) => void;
  onSearch: (words: string) => void;
}

export function PathBar({ path, words, onOpen, onSearch }: PathProps) {
  const { text } = useWords();
  const parts = path ? path.split("/") : [];
  const link = (name: string, to: string) => (
    <button type="button" className="drive-name" onClick={() => onOpen(to)}>
      <span className="ellipsis">{name}</span>
    </button>
  );
  return (
    <div className="row between drive-bar">
      <Breadcrumb
        items={[
          { title: link(text.drive.home, "") },
          ...parts.map((name, index) => ({
            title: link(name, parts.slice(0, index + 1).join("/")),
          })),
        ]}
      />
      <Input.Search
        key={words}
        allowClear
        defaultValue={words}
        style={{ maxWidth: 260 }}
        aria-label={text.drive.searchIn}
        placeholder={text.drive.searchIn}
        onSearch={onSearch}
      />
    </div>
  );
}
