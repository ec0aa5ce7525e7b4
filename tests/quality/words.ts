/** Word lists and sentence patterns of the corpus. `{name}` in a pattern is replaced by an entry of that list. */

/** The entries between commas; an entry may wrap onto the next line. */
const list = (text: string): readonly string[] => text.split(',').map((entry) => entry.trim().replace(/\s+/g, ' '));

export const WORDS: Readonly<Record<string, readonly string[]>> = {
  person: list(
    `the nurse, a retired teacher, my neighbour, the ferry captain, an apprentice carpenter, the tax inspector, a young
    violinist, our landlord, the goalkeeper, a marine biologist, the night porter, two plumbers, the mayor's secretary,
    a beekeeper, the court interpreter, a tired courier, the lighthouse keeper, an astronomer, the pastry chef, a
    software tester, the village doctor, a glassblower, the referee, an insurance broker, the librarian, a geologist,
    three firefighters, the trade union, a widowed farmer, the airline's spokeswoman`,
  ),
  action: list(
    `repaired, painted over, quietly sold, forgot about, photographed, measured, borrowed, cleaned, inspected, rebuilt,
    complained about, inherited, described, carried home, misplaced, auctioned, catalogued, decorated, dismantled,
    praised, hid, replaced, weighed, labelled, insured, restored, ignored, demonstrated, rented out, copied`,
  ),
  thing: list(
    `the copper kettle, an old accordion, the broken escalator, a stack of letters, the greenhouse roof, a wooden
    sledge, the orchard wall, a second-hand bicycle, the school piano, a leaking radiator, the harbour crane, a silver
    compass, the museum's oldest map, a box of seeds, the grain silo, an electric wheelchair, the chapel window, a
    fishing net, the diesel generator, a marble staircase, the weather balloon, a blue umbrella, the vaccine fridge, a
    wedding dress, the stone bridge, a cracked telescope, the parish register, a tray of apricots, the server rack, a
    pair of hiking boots`,
  ),
  place: list(
    `behind the railway station, in the flooded basement, near the Portuguese border, at the farmers' market, on the
    third floor, across the frozen lake, inside the old brewery, under the motorway, in a suburb of Lyon, by the canal,
    at an altitude of two thousand metres, in the waiting room, outside the courthouse, along the coast of Norway, in
    the botanical garden, next to the bakery, at the end of the pier, in downtown Osaka, above the tree line, on a
    small island`,
  ),
  time: list(
    `last Tuesday, before the storm, in the winter of 1987, shortly after midnight, during the strike, every other
    weekend, on the first day of spring, while the shops were closed, three weeks ago, at dawn, during the power cut,
    after the harvest, on Christmas Eve, between two meetings, in her final year, just before the deadline`,
  ),
  reason: list(
    `because the insurance had lapsed, although nobody had asked, so that the children could sleep, even though it was
    raining, since the spare parts never arrived, in order to save money, despite the doctor's advice, without telling
    the committee, as the regulations require, because the key was lost, until the money ran out, to everyone's surprise`,
  ),
  organisation: list(
    `the central bank, a regional hospital, the national rail operator, a chip maker, the fisheries ministry, an
    electric car start-up, the football federation, a paper mill, the city council, a satellite company, the teachers'
    pension fund, a frozen food producer, the port authority, an online bookshop, the electoral commission, a solar
    panel importer`,
  ),
  event: list(
    `announced record losses, postponed the merger, recalled forty thousand units, raised its forecast, lost an appeal,
    opened a second factory, suspended all flights, cut interest rates by a quarter point, published its annual report,
    signed a contract with the navy, denied the allegations, laid off a tenth of its staff, settled out of court,
    agreed to compensate the victims, introduced a four-day week, switched to recycled packaging`,
  ),
  cause: list(
    `amid falling demand, after a week of protests, following an audit, as energy prices climbed, despite a warm autumn,
    under pressure from regulators, two days before the vote, citing safety concerns, according to people familiar with
    the talks, while its rivals were expanding`,
  ),
  organ: list('heart, left kidney, liver, lower back, knee joint, inner ear, thyroid, right shoulder, lungs, retina'),
  symptom: list(
    `a dull pain, sudden swelling, numbness, an irregular rhythm, mild inflammation, a small cyst, reduced function,
    a hairline fracture, recurring infections, a burning sensation`,
  ),
  treatment: list(
    `physiotherapy twice a week, a low dose of aspirin, keyhole surgery, rest and plenty of fluids, a course of
    antibiotics, an MRI scan, regular blood tests, a change of diet, a steroid injection, watchful waiting`,
  ),
  component: list(
    `the load balancer, our message queue, the payment service, a background worker, the search index, the login page,
    the image cache, a scheduled job, the mobile app, the billing database, a WebSocket connection, the build server,
    the rate limiter, a memory-mapped file, the configuration parser, the vector index`,
  ),
  failure: list(
    `times out after thirty seconds, leaks file descriptors, returns stale data, crashes on start-up, rejects valid
    certificates, drops every tenth request, writes the same row twice, deadlocks under load, ignores the retry header,
    uses twice the memory it should, misreads daylight saving time, loses messages when the disk is full`,
  ),
  remedy: list(
    `rolling back to the previous version, raising the pool size, adding an index on the foreign key, rotating the
    keys, pinning the dependency, clearing the local cache, upgrading the kernel, disabling compression, restarting one
    node at a time, setting an explicit timeout`,
  ),
  ingredient: list(
    `roasted aubergine, smoked paprika, brown lentils, a knob of butter, pickled ginger, fresh dill, crumbled feta,
    toasted hazelnuts, rye flour, a pinch of saffron, tinned sardines, sour cherries, coconut milk, black garlic`,
  ),
  cooking: list(
    `simmer gently, whisk until stiff, marinate overnight, fry in batches, fold in carefully, bake at 180 degrees,
    reduce by half, blanch for a minute, knead until smooth, let it rest under a cloth`,
  ),
  animal: list(
    `snow leopards, garden snails, migrating cranes, honeybees, river otters, fruit bats, emperor penguins, wild boars,
    leafcutter ants, blue whales, barn owls, house cats, reef sharks, fire salamanders`,
  ),
  behaviour: list(
    `sleep through the coldest months, recognise human faces, navigate by the stars, share food with strangers, change
    colour when threatened, travel hundreds of kilometres, mate for life, use simple tools, hunt only at night, build
    elaborate nests, communicate by vibration, care for the young of others`,
  ),
  science: list(
    `a paper in a physics journal, the latest climate model, a survey of nine thousand twins, the fossil record, a
    double-blind trial, radio telescope data, a ten-year field study, an analysis of ice cores`,
  ),
  team: list(
    'the home side, the under-nineteens, Ghana, the defending champions, a second-division club, the visitors',
  ),
  result: list(
    `won on penalties, threw away a three-goal lead, were relegated, qualified for the semi-final, drew a scrappy match,
    broke the national record, lost their captain to injury, finished a distant fourth`,
  ),
  product: list(
    `these headphones, the folding pram, this rice cooker, the winter jacket, a standing desk, this paperback, the
    garden hose, the robot vacuum, their running shoes, this language course, the espresso machine, the tent`,
  ),
  verdict: list(
    `stopped working after a month, exceeded all my expectations, are worth every cent, smells strongly of plastic,
    arrived two weeks late, is quieter than I feared, is far too small, came with a missing screw, makes a lovely gift,
    would be better in another colour, feels flimsy, survived a fall from the balcony`,
  ),
  feeling: list(
    `disappointed, over the moon, mildly annoyed, grateful, exhausted, nervous, homesick, indifferent, furious, curious,
    strangely calm, relieved, embarrassed, proud`,
  ),
  law: list(
    `The tenant shall give sixty days' written notice, The licensee may not sublicense the work, Either party may
    terminate this agreement, The seller warrants that the goods are free of defects, The processor shall delete all
    personal data, The court may extend the period, Interest accrues daily on the outstanding amount`,
  ),
  clause: list(
    `unless both parties agree otherwise in writing, subject to section four, except in cases of force majeure, within
    the meaning of the statute, to the extent permitted by law, notwithstanding any prior understanding`,
  ),
  topic: list(
    `compound interest, photosynthesis, the offside rule, a mortgage, tidal power, the subjunctive, gradient descent,
    plate tectonics, double-entry bookkeeping, jet lag, the electoral college, sourdough, public-key cryptography,
    impressionism, antibiotic resistance, supply chains`,
  ),
  city: list(
    'Lisbon, Nairobi, Winnipeg, Tbilisi, Hanoi, Montevideo, Gdansk, Marrakesh, Busan, Adelaide, Quito, Aarhus',
  ),
  word: list(
    `yes, no, ok, hello, water, entropy, Thursday, quasi, unbelievable, the, seven, zebra, counterrevolutionary, xylophone,
    NASA, iPhone, e-mail, naive, café, résumé, Zürich, supercalifragilisticexpialidocious, a, I, why, stop, refund, cat,
    deoxyribonucleic, antidisestablishmentarianism`,
  ),
  symbol: [
    '?',
    '!',
    '...',
    '—',
    '%',
    '@',
    '#1',
    '&',
    '§ 12',
    '™',
    '42',
    '0',
    '-1',
    '3.14159',
    '½',
    'π',
    '∞',
    '→',
    '😀',
    '$5',
  ],
  identifier: list('count, buffer, userId, total, index, node, response, price, cursor, token, matrix, queue'),
  emoji: ['😀', '🔥', '🎉', '😢', '👍🏽', '🚀', '❤️', '🤷‍♀️', '🍕', '🐙', '🇯🇵', '☕', '💸', '🌧️', '👨‍👩‍👧‍👦', '✅'],
  domain: list('example.com, example.org, shop.example.net, docs.example.io, data.example.edu, blog.example.fr'),
  path: list('index.html, v2/orders/981, search?q=red+shoes&page=3, a/b/c.tar.gz, users/me#profile, img/cat_01@2x.png'),
};

export const ENGLISH_PATTERNS = [
  '{person} {action} {thing} {place}.',
  '{person} {action} {thing} {time}, {reason}.',
  '{time}, {person} {action} {thing} {place} {reason}.',
  '{organisation} {event} {cause}.',
  '{organisation} {event} {cause}, and {organisation} {event}.',
  'The patient reports {symptom} in the {organ}; we recommend {treatment}.',
  'Is {symptom} in the {organ} dangerous, or is {treatment} enough?',
  '{component} {failure} whenever {component} {failure}.',
  'Since the last release {component} {failure}; {remedy} did not help.',
  'We fixed it by {remedy}, but {component} still {failure}.',
  'Combine {ingredient} with {ingredient}, {cooking}, then serve with {ingredient}.',
  '{cooking} and add {ingredient} at the very end.',
  'According to {science}, {animal} {behaviour}.',
  'Do {animal} really {behaviour}, or is that a myth about {animal}?',
  '{team} {result} against {team} {time}.',
  '{product} {verdict}, and I am {feeling}.',
  'I bought {product} {time}. It {verdict}.',
  '{law} {clause}.',
  'Can you explain {topic} to a ten-year-old?',
  'What is the difference between {topic} and {topic}?',
  'How far is it from {city} to {city}, and what does the train cost?',
  'I felt {feeling} {time} {place}.',
  'Nobody in {city} remembers {thing}.',
  'She said she was {feeling}, but {person} {action} {thing} anyway.',
  'Please cancel my order; {product} {verdict}.',
  '{topic} matters more than {topic}, says {person}.',
] as const;

export const SHORT_PATTERNS = [
  '{word}',
  '{word} {word}',
  '{symbol}',
  '{word}{symbol}',
  '{word}?',
  '{city}',
  '{thing}',
] as const;

export const NUMBER_PATTERNS = [
  'Invoice {n4}-{n2}: {n3}.{n2} EUR due on 20{n2}-0{d}-1{d}.',
  'The sensor read {d}.{n3} V at {n2}:{n2}:{n2} UTC.',
  '{n3} × {n2} = {n4}',
  'Population grew from {n3},{n3} to {d},{n3},{n3} between 19{n2} and 20{n2}.',
  'Call +{n2} {n3} {n3} {n4} or dial extension {n3}.',
  'pH {d}.{d}, {n2} °C, {n3} mg/L, ±{d}%',
  'Version {d}.{n2}.{d} of build {n4}{n4} (0x{n4}f{d}a)',
  'ISBN 978-{d}-{n4}-{n4}-{d}',
] as const;

export const CODE_PATTERNS = [
  'const {identifier} = {identifier}.map((x) => x * {n2}).filter(Boolean);',
  'SELECT {identifier}, COUNT(*) FROM orders WHERE {identifier} > {n3} GROUP BY {identifier};',
  'def {identifier}({identifier}: int) -> int:\n    return {identifier} + {n2}',
  'if ({identifier} == null || {identifier}.length < {d}) { throw new Error("{identifier}"); }',
  'for i in 0..{n3} { {identifier}[i] ^= {identifier}[i >> {d}]; }',
  'curl -X POST http://localhost:{n4}/v1/{identifier} -d \'{"{identifier}": {n3}}\'',
  'error[E0{n3}]: cannot borrow `{identifier}` as mutable more than once at a time',
  'git commit -m "Fix {identifier} when {identifier} is empty" && git push',
  '<div class="{identifier}" id="{identifier}-{n2}">{word}</div>',
  '{"{identifier}": [{n2}, {n3}, null], "{identifier}": {"nested": true}}',
] as const;

export const LINK_PATTERNS = [
  'https://{domain}/{path}',
  'See https://{domain}/{path} and http://www.{domain}/{path} for details.',
  'Write to {identifier}.{identifier}@{domain} before Friday.',
  'ftp://{domain}:{n4}/{path}',
  '/usr/share/{identifier}/{path}',
  'C:\\Users\\{identifier}\\{path}',
  '192.168.{d}.{n2}:{n4} refused the connection from {domain}',
] as const;

export const EMOJI_PATTERNS = [
  '{emoji}',
  '{emoji}{emoji}{emoji}',
  'We are going to {city}! {emoji}',
  '{product} {verdict} {emoji}{emoji}',
  'omg {emoji} {team} {result} {emoji}',
  '{word} {emoji} {word}',
] as const;
